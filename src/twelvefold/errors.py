"""Every error that Twelvefold raises, as one tree, by who has to read it.

TwelvefoldError
├── SettingsError          the operator: a variable is wrong; nothing was started
├── RequestError           the caller: the request is wrong as it stands
│   ├── NotFound           … it names something that is not there
│   ├── ConversationTooLarge … it would make a conversation larger than the limit
│   └── Conflict           … it does not fit the present state; try again later
│       ├── Repeated       … it was made before, under this very key
│       └── TooLate        … it is about what is over; to try again does not help
├── ToolRefused            the model: the tool says no, and what to try instead
├── StaleRun               the engine: the run went on elsewhere; nothing was written
│   └── LeaseLost          … because another process owns it now
├── CancelAsked            the engine: somebody asked for the run to be cancelled
├── ServiceFault           the operator: an attached service fails
│   ├── StoreUnavailable   … the database cannot be reached or asks for a retry
│   │   ├── StoreFailed    … the database reports an error that may last
│   │   └── StepUnderWay   … a step's transaction has the run; it ends first
│   ├── StoreRefused       … the database is not fit, or refuses a statement
│   │   ├── DuplicateRow   … because a row with this key is there already
│   │   └── TooLarge       … because it, or a row, exceeds max_allowed_packet
│   ├── ModelUnavailable   … the model gave no usable reply this time
│   ├── ModelRejected      … the model will never take this request
│   ├── MailUnavailable    … the mail server did not take a mail this time
│   └── MailRejected       … the mail server will never take this mail
└── WorkflowError          the author: a tool or workflow is declared wrongly
"""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from twelvefold.core.events import Usage


class TwelvefoldError(Exception):
    """The base of all errors raised on purpose.

    A message may quote a statement's values, a prompt, a reply or an address, so it goes to the
    journal and to the caller, and never to a log. `log_text` is what a log holds of the error
    beside its type and place; "" unless the code that raises it calls `loggable`.
    """

    log_text: str = ""

    def loggable(self, text: str = "") -> Self:
        """Let logs hold `text`, by default the whole message; it must quote nothing of the above.

        Returns the error, to be raised.
        """
        self.log_text = text or str(self)
        return self

    @property
    def logged(self) -> str:
        """What another error's `log_text` may say of this one."""
        return self.log_text or type(self).__name__


class SettingsError(TwelvefoldError):
    """One or more settings are wrong; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(TwelvefoldError):
    """The caller's request is wrong as it stands."""


class NotFound(RequestError):
    """The request names something that is not there, or not the caller's."""


class ConversationTooLarge(RequestError):
    """The conversation is as large as it may be; the message names the setting."""


class Conflict(RequestError):
    """The request does not fit the present state of the thread or run."""


class Repeated(Conflict):
    """A request with this key was made before; `run` (its id as text) is what came of it."""

    def __init__(self, run: str, body_hash: str) -> None:
        super().__init__(f"the key was used before, for {run}")
        self.run = run
        self.body_hash = body_hash


class TooLate(Conflict):
    """The run is over, or the call that it is about waits for nobody; that stays so."""


class ToolRefused(TwelvefoldError):
    """A tool says no. The message is for the model, so it says what to try instead.

    Raised inside a transactional tool it rolls back what the tool has written.
    """


class StaleRun(TwelvefoldError):
    """The run has moved on in another process; nothing was written."""


class LeaseLost(StaleRun):
    """Another process owns the run now; nothing was written."""


class CancelAsked(TwelvefoldError):
    """Somebody asked for the run to be cancelled; nothing was written."""


class ServiceFault(TwelvefoldError):
    """An attached service fails; the message says which, and what to look at."""


class StoreUnavailable(ServiceFault):
    """The database cannot be reached, or asks for the transaction to be tried again."""


class StoreFailed(StoreUnavailable):
    """The database reports an error that is not the statement's and may last.

    A full disk, a missing privilege, any error number that is not known. Retried for a bounded
    time; then the run fails with this message.
    """


class StepUnderWay(StoreUnavailable):
    """The run is in the transaction of a step, which ends first; the message names the tool."""


class StoreRefused(ServiceFault):
    """The statement cannot be executed as it stands: the error is in it or in its values."""


class DuplicateRow(StoreRefused):
    """A row with this key is there already; the statement changed nothing."""


class TooLarge(StoreRefused):
    """The statement or a row exceeds the server's `max_allowed_packet`; the message names it."""


class ModelUnavailable(ServiceFault):
    """The model gave no usable reply; it may later, or once an operator has mended a setting.

    `usage` is what the tries took that broke off; None if none of them got that far.
    """

    usage: "Usage | None" = None


class ModelRejected(ServiceFault):
    """The model will never take this request, whoever sends it.

    `usage` as in ModelUnavailable.
    """

    usage: "Usage | None" = None


class MailUnavailable(ServiceFault):
    """The mail server did not take a mail this time; trying again later may help."""


class MailRejected(ServiceFault):
    """The mail server will never take this mail: unknown recipient, malformed address."""


class WorkflowError(TwelvefoldError):
    """A tool or workflow is declared wrongly; raised on import."""
