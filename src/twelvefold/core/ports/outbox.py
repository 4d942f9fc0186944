"""The port of the outbox, and of the mail server that its messages go to."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct


class OutboxMessage(Struct, frozen=True):
    """A message of the outbox. With `dead_at_us` set it is no longer retried."""

    id: str
    thread: str
    kind: str
    body: Mapping[str, Any]
    attempts: int
    due_at_us: int
    sent_at_us: int | None
    dead_at_us: int | None
    error: str


class OutboxStore(Protocol):
    """Messages of the outbox. Every method may raise StoreUnavailable.

    A method that takes a message takes it as it was read before the claim.
    """

    async def due_messages(self, limit: int) -> list[OutboxMessage]:
        """Return the messages that are due, oldest first."""
        ...

    async def claim_message(self, message: OutboxMessage, for_s: float) -> bool:
        """Claim a message for `for_s` and count an attempt; False if another sender has it."""
        ...

    async def renew_message(self, message: OutboxMessage, for_s: float) -> bool:
        """Extend a claim; False if the message was sent, has failed or has another claim."""
        ...

    async def message_sent(self, message: OutboxMessage) -> None:
        """Record that a message was sent, also if another sender has claimed it since."""
        ...

    async def message_failed(
        self, message: OutboxMessage, error: str, retry_s: float | None
    ) -> None:
        """Record a failed attempt; the message is due after `retry_s`, or dead if that is None.

        Changes nothing if another sender has claimed it since.
        """
        ...

    async def messages(
        self, *, limit: int, state: Literal["waiting", "sent", "dead"] | None = None
    ) -> list[OutboxMessage]:
        """Return messages, those with the latest attempt first."""
        ...

    async def retry_message(self, id: str) -> None:
        """Make a waiting or dead message due now; a dead one has all its attempts again.

        Raises NotFound, or Conflict if it was sent or is being sent.
        """
        ...

    async def retry_dead(self) -> int:
        """Make all dead messages due now, as `retry_message` does; return how many."""
        ...


class Mail(Struct, frozen=True):
    """A mail to send. `id` makes its Message-ID, so that a mail that is sent twice is one mail.

    `traceparent` names the span of the call that sent it, "" without traces.
    """

    id: str
    to: str
    subject: str
    text: str
    html: str = ""
    traceparent: str = ""


class Mailer(Protocol):
    """A mail server."""

    async def send(self, mail: Mail) -> None:
        """Send a mail. Raises MailUnavailable (repeat it) or MailRejected (do not)."""
        ...

    async def check(self) -> None:
        """Connect and log in, as for a mail. Raises MailUnavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
