"""All errors that Twelvefold raises, as one tree, with the reader of each.

TwelvefoldError
├── SettingsError          operator: a setting is invalid; nothing was started
├── RequestError           caller: the request is invalid
│   ├── NotFound           … it names something that does not exist
│   ├── ConversationTooLarge … it would make a conversation larger than the limit
│   └── Conflict           … it does not fit the present state; try again later
│       ├── Repeated       … its idempotency key was used before
│       └── TooLate        … the run is over or the call is answered; do not try again
├── ToolRefused            model: the tool refuses the call; try something else
├── StaleRun               engine: the run has moved on; nothing was written
│   └── LeaseLost          … another process owns it now
├── CancelAsked            engine: the cancellation of the run was requested
├── ServiceFault           operator: a backing service fails
│   ├── StoreUnavailable   … the database cannot be reached or requires a retry
│   │   ├── StoreFailed    … the database reports an error that may last
│   │   └── StepUnderWay   … the transaction of a step has locked the run
│   ├── StoreRefused       … the database is unfit, or refuses a statement
│   │   ├── DuplicateRow   … a row with this key exists
│   │   └── TooLarge       … the statement or a row exceeds max_allowed_packet
│   ├── ModelUnavailable   … the model sent no usable reply; a retry may help
│   ├── ModelRejected      … the model rejects the request; a retry does not help
│   ├── MailUnavailable    … the mail server did not accept a mail; a retry may help
│   └── MailRejected       … the mail server rejects a mail; a retry does not help
└── WorkflowError          author: a tool or workflow is declared wrongly
"""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from twelvefold.core.events import Usage


class TwelvefoldError(Exception):
    """The base of all errors of Twelvefold.

    A message may quote values of a statement, a prompt, a reply or an address: the journal and the
    caller get it, a log never does. A log has the type, the place and `log_text`, which is ""
    unless the code that raises the error calls `loggable`.
    """

    log_text: str = ""

    def loggable(self, text: str = "") -> Self:
        """Allow logs to have `text`, by default the message; return the error.

        The text must not quote anything that the class names.
        """
        self.log_text = text or str(self)
        return self

    @property
    def logged(self) -> str:
        """The text about this error that another error's `log_text` may quote."""
        return self.log_text or type(self).__name__


class SettingsError(TwelvefoldError):
    """One or more settings are invalid; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(TwelvefoldError):
    """The caller's request is invalid."""


class NotFound(RequestError):
    """The request names something that does not exist, or that is not the caller's."""


class ConversationTooLarge(RequestError):
    """The conversation has its maximum size; the message names the setting."""


class Conflict(RequestError):
    """The request does not fit the present state of the thread or run."""


class Repeated(Conflict):
    """A request with this key was made before; it started `run` (its id as text)."""

    def __init__(self, run: str, body_hash: str) -> None:
        super().__init__(f"the key was used before, for {run}")
        self.run = run
        self.body_hash = body_hash


class TooLate(Conflict):
    """The run is over, or the call no longer waits for an answer; a retry does not help."""


class ToolRefused(TwelvefoldError):
    """A tool refuses the call. The model reads the message, which advises what to try instead.

    In a transactional tool it rolls back the tool's writes.
    """


class StaleRun(TwelvefoldError):
    """The run has moved on in another process; nothing was written."""


class LeaseLost(StaleRun):
    """Another process owns the run now; nothing was written."""


class CancelAsked(TwelvefoldError):
    """The cancellation of the run was requested; nothing was written."""


class ServiceFault(TwelvefoldError):
    """A backing service fails; the message names it and what to check."""


class StoreUnavailable(ServiceFault):
    """The database cannot be reached, or requires the transaction to be retried."""


class StoreFailed(StoreUnavailable):
    """The database reports an error that is not the statement's and may last.

    A full disk, a missing privilege, any error number that is not known. Retried for a bounded
    time; then the run fails with this message.
    """


class StepUnderWay(StoreUnavailable):
    """The transaction of a step has locked the run; the message names the tool."""


class StoreRefused(ServiceFault):
    """The statement cannot be executed: the error is in it or in its values."""


class DuplicateRow(StoreRefused):
    """A row with this key exists; the statement changed nothing."""


class TooLarge(StoreRefused):
    """The statement or a row exceeds the server's `max_allowed_packet`; the message names it."""


class ModelUnavailable(ServiceFault):
    """The model sent no usable reply; a retry, or a correction of a setting, may help.

    `usage` is the usage of attempts that broke off; None if no attempt reported any.
    """

    usage: "Usage | None" = None


class ModelRejected(ServiceFault):
    """The model rejects this request; a retry does not help.

    `usage` as in ModelUnavailable.
    """

    usage: "Usage | None" = None


class MailUnavailable(ServiceFault):
    """The mail server did not accept a mail; a retry may help."""


class MailRejected(ServiceFault):
    """The mail server rejects this mail: unknown recipient, malformed address."""


class WorkflowError(TwelvefoldError):
    """A tool or workflow is declared wrongly. Raised on import."""
