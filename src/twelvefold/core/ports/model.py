"""The port of a model: one request, one reply."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from twelvefold.core.events import Item, ReplyEnd, Usage, size_of
from twelvefold.core.ports.listener import Listener

NO_USAGE = Usage()


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = True

    @cached_property
    def size(self) -> int:
        """The approximate number of bytes of its JSON."""
        return size_of(self.description) + size_of(str(self.parameters))


class KnownItems(Struct, frozen=True, eq=False):
    """The first `count` items of a request, which every later one of the conversation begins with.

    `encoded` belongs to the model, which stores encoded items there under its own key. The known
    items of a later request may start with a copy of it.
    """

    count: int
    encoded: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request for one reply; `items` have the Responses API's shape.

    `options` are `tool_choice`, `temperature` and others in the Responses API's shape; they take
    precedence over the settings. `hops` counts the instances that the request has passed.
    `history` are the first of the items, if earlier requests began with the same. `attempts`: how
    often the model may send it, 0 for as often as its settings say; the run has another model that
    can be asked then. `before_retry` is awaited before each further attempt, with the usage of all
    failed ones; if it returns False, no other attempt is made.
    """

    instructions: str
    items: tuple[Item, ...]
    tools: tuple[ToolSpec, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    hops: int = 0
    history: "KnownItems | None" = field(default=None, compare=False, repr=False)
    attempts: int = 0
    before_retry: Callable[[Usage], Awaitable[bool]] | None = field(
        default=None, compare=False, repr=False
    )


class ModelReply(Struct, frozen=True):
    """A complete reply. `request_hash` is the SHA-256, in hex, of the body that was sent.

    `usage` is the usage of all attempts, `lost` the part of it that broken attempts took.
    """

    items: tuple[Item, ...]
    usage: Usage
    model: str
    request_hash: str
    ended: ReplyEnd = "completed"
    lost: Usage = NO_USAGE


class Model(Protocol):
    """A model behind the OpenAI API."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Request a reply until it is complete, and retry where a retry can help.

        Raises ModelUnavailable if the retries fail, ModelRejected if no retry can help, and
        ModelTooLarge if the request exceeds the model's context window. If it is cancelled, the
        cause of the CancelledError is a ModelUnavailable with the usage so far, if there is any.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
