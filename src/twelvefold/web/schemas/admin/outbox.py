"""Messages of the outbox as operators see them, without their text."""

from typing import Literal

from twelvefold.web.schemas.objects import Answer


class AdminMessage(Answer):
    """A message. `due`: it waits for its first attempt, `failed`: for another one.

    `dead`: no worker retries it. `thread` is the conversation whose tool wrote it.
    """

    id: str
    object: Literal["admin.message"]
    state: Literal["due", "failed", "dead", "sent"]
    kind: str
    thread: str | None
    to: str
    subject: str
    attempts: int
    due_at: float
    sent_at: float | None
    dead_at: float | None
    error: str


class AdminMessageList(Answer):
    """A page of messages, the one with the latest attempt first."""

    object: Literal["list"]
    data: list[AdminMessage]
    first_id: str | None
    last_id: str | None
    has_more: bool
