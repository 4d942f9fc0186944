"""Every error that Twelvefold raises, as one tree, with the reader of its message.

TwelvefoldError
├── SettingsError          the operator: settings are invalid; nothing was started
├── RequestError           the caller: the request is invalid
│   ├── NotFound           … it names something that does not exist
│   ├── InputRefused       … an image or file is invalid, or no model of the run takes it
│   ├── InsufficientQuota  … a budget has no room for it
│   ├── PriceUnknown       … a budget in USD covers it, and a model of the run has no price
│   ├── InvalidAnswer      … the answer does not have the type that the question asks for
│   ├── ConversationTooLarge … it would exceed the maximum size of a conversation
│   └── Conflict           … it does not fit the current state; try again later
│       ├── Repeated       … a request with the same key was made before
│       └── TooLate        … the run has ended; trying again does not help
├── ToolRefused            the model: the tool refuses the call, with a hint
├── StaleRun               the engine: another process continued the run; nothing was written
│   └── LeaseLost          … another process holds its lease
├── CancelAsked            the engine: cancellation of the run was requested
├── AppClosed              the caller: the app is not open; runs that it drove are given back
├── ServiceFault           the operator: a backing service failed
│   ├── StoreUnavailable   … the database is unreachable or requests a retry
│   │   ├── StoreFailed    … the database reports an error that may persist
│   │   ├── StepUnderWay   … a step's transaction holds the run and must end first
│   │   └── MigrationUnfinished … an older release may still work on the database
│   ├── StoreRefused       … the database is unsuitable, or rejects a statement
│   │   ├── DuplicateRow   … a row with this key exists
│   │   └── TooLarge       … the statement or a row exceeds max_allowed_packet
│   ├── ModelUnavailable   … the model gave no usable reply this time
│   ├── ModelRejected      … the model will never accept this request
│   │   └── ModelTooLarge  … it exceeds the model's context window
│   ├── MailUnavailable    … the mail server did not accept a message this time
│   ├── MailRejected       … the mail server will never accept this message
│   ├── BrokerUnavailable  … the message broker is unreachable or rejects a request
│   └── ResourceUnavailable … a resource of a workflow cannot be opened, or is missing
└── WorkflowError          the author: a tool or workflow is declared wrongly
"""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from twelvefold.core import Usage
    from twelvefold.core.ports.budgets import Budget


class TwelvefoldError(Exception):
    """The base class of all errors that Twelvefold raises.

    A message may contain values of a statement, a prompt, a reply or an address. It goes to the
    journal and to the caller, never to a log. A log has the error's type, place and `log_text`,
    which is "" unless the code that raises the error calls `loggable`.
    """

    log_text: str = ""

    def loggable(self, text: str = "") -> Self:
        """Set `log_text`, by default to the message, and return the error, to be raised.

        The text must not contain any of the values above.
        """
        self.log_text = text or str(self)
        return self

    @property
    def logged(self) -> str:
        """The text that another error's `log_text` may use for this error."""
        return self.log_text or type(self).__name__


class SettingsError(TwelvefoldError):
    """One or more settings are invalid; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(TwelvefoldError):
    """The request is invalid."""


class NotFound(RequestError):
    """The request names something that does not exist or is not visible to the caller."""


class InputRefused(RequestError):
    """An image or file in the conversation is invalid, or no model of the run takes it.

    `earlier`: it is in an earlier turn.
    """

    def __init__(self, message: str, *, code: str = "invalid_value", earlier: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.earlier = earlier


class InsufficientQuota(RequestError):
    """A budget has no room for the next model call.

    It renews at `renews_us`, in microseconds since 1970, which is in `renews_in_s`; None: it is too
    small for the call even then. `waits`: the run waits until it renews; else it fails.
    `is_reserved`: it has room again if the calls in progress cost less than they may. `budget` is
    the budget as it was read.
    """

    def __init__(
        self,
        message: str,
        *,
        renews_us: int = 0,
        renews_in_s: float | None = None,
        waits: bool = False,
        is_reserved: bool = False,
        budget: "Budget | None" = None,
    ) -> None:
        super().__init__(message)
        self.budget = budget
        self.renews_us = renews_us
        self.renews_in_s = renews_in_s
        self.waits = waits
        self.is_reserved = is_reserved


class PriceUnknown(RequestError):
    """A budget in USD covers a run whose model has no price; the message names the setting."""


class InvalidAnswer(RequestError):
    """The answer does not fit the question's JSON Schema; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("the answer does not fit: " + "; ".join(problems))
        self.problems = problems


class ConversationTooLarge(RequestError):
    """The conversation has reached its maximum size; the message names the setting."""


class Conflict(RequestError):
    """The request does not fit the current state of the thread or run."""


class Repeated(Conflict):
    """A request with this key was made before; `run` is the id of the run that it started."""

    def __init__(self, run: str, body_hash: str) -> None:
        super().__init__(f"the key was used before, for {run}")
        self.run = run
        self.body_hash = body_hash


class TooLate(Conflict):
    """The run has ended, the call no longer waits, or the mail was sent; this will not change."""


class ToolRefused(TwelvefoldError):
    """A tool refuses a call. The model reads the message, which should say what to try instead.

    A transactional tool that raises it is rolled back.

    Example:
        from twelvefold import ToolRefused, Transaction, tool

        @tool
        async def cancel_order(tx: Transaction, order: int) -> str:
            \"""Cancel an order.\"""
            if not await tx.execute("delete from orders where id = :id", id=order):
                raise ToolRefused(f"no order {order}; find_orders gives the ids")
            return "cancelled"
    """


class StaleRun(TwelvefoldError):
    """Another process continued the run; nothing was written."""


class LeaseLost(StaleRun):
    """Another process holds the lease of the run; nothing was written."""


class CancelAsked(TwelvefoldError):
    """Cancellation of the run was requested; nothing was written."""


class AppClosed(TwelvefoldError):
    """The app is not open, or was closed during the call.

    A run that it drove is given back: any process may continue it.
    """


class ServiceFault(TwelvefoldError):
    """A backing service failed; the message names it and the setting to check."""


class StoreUnavailable(ServiceFault):
    """The database is unreachable, or requests that the transaction be retried.

    `recovery_s`: how long it may stay unreachable, if that is known: the length of a failover.
    """

    recovery_s: float = 0.0


class StoreFailed(StoreUnavailable):
    """The database reports an error that is not caused by the statement and may persist.

    Examples are a full disk, a missing privilege, and any unknown error number. The step is retried
    for a limited time; then the run fails with this message.
    """


class StepUnderWay(StoreUnavailable):
    """The transaction of a step holds the run and must end first; the message names the tool."""


class MigrationUnfinished(StoreUnavailable):
    """An older release may still work on the database, and could not read what would be written.

    `twelvefold migrate --finish` states that none does.
    """


class StoreRefused(ServiceFault):
    """The database rejects the statement: the error is in the statement or in its values."""


class DuplicateRow(StoreRefused):
    """A row with this key exists; the statement changed nothing.

    Example:
        from twelvefold import DuplicateRow, ToolRefused, Transaction, tool

        @tool
        async def add_item(tx: Transaction, item: str) -> str:
            \"""Put one thing on the list.\"""
            try:
                await tx.execute("insert into list (item) values (:item)", item=item)
            except DuplicateRow:
                raise ToolRefused(f"{item} is on the list already; say so") from None
            return f"{item} is on the list"
    """


class TooLarge(StoreRefused):
    """The statement or a row exceeds the server's `max_allowed_packet`; the message names it."""


class ModelUnavailable(ServiceFault):
    """The model gave no usable reply; a later request or a corrected setting may help.

    `usage` are the tokens of attempts that were interrupted, or None if there were none.
    """

    usage: "Usage | None" = None


class ModelRejected(ServiceFault):
    """The model will never accept this request, whatever the key.

    `usage` as in ModelUnavailable.
    """

    usage: "Usage | None" = None


class ModelTooLarge(ModelRejected):
    """The request exceeds the model's context window, or the size that its server accepts."""


class MailUnavailable(ServiceFault):
    """The mail server did not accept a message this time; a retry may succeed."""


class MailRejected(ServiceFault):
    """The mail server will never accept this message: unknown recipient, malformed address."""


class BrokerUnavailable(ServiceFault):
    """The message broker is unreachable, or rejects a request. Workers poll the database then."""


class ResourceUnavailable(ServiceFault):
    """A resource of a workflow cannot be opened, or none has the type that a tool takes.

    The run is given back and tried again, as after an outage of the model.
    """


class WorkflowError(TwelvefoldError):
    """A tool or workflow is declared wrongly. Raised on import."""
