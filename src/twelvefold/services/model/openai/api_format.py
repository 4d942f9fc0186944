"""The interface of the two APIs: `responses` and `chat` each define one `ApiFormat`."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from twelvefold.core import Item, ModelReply, ModelRequest, Usage
from twelvefold.services.model.openai.encoding import EncodedItems, OptionalPart

DONE = b"[DONE]"
"""The data of the last event of a stream."""
TextCallback = Callable[[str], None]


class RequestSettings(Protocol):
    """The settings that every request contains beside the conversation."""

    @property
    def model(self) -> str: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def max_output_tokens(self) -> int | None: ...


class ReplyReader(Protocol):
    """Builds one reply from the events of a stream."""

    @property
    def has_shown_text(self) -> bool:
        """Whether some text was passed to the callback."""
        ...

    @property
    def is_writing(self) -> bool:
        """Whether a text or a call is in progress: a long silence is then not reasoning."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the reply is complete. Usage may still follow."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing relevant follows."""
        ...

    @property
    def usage(self) -> Usage:
        """The usage that the server has reported so far."""
        ...

    @property
    def received_bytes(self) -> int:
        """The length of text, calls and reasoning received so far."""
        ...

    @property
    def item_count(self) -> int:
        """The number of items that have started."""
        ...

    def add(self, data: bytes) -> None:
        """Process the data of one event. Raises RetryableError if it is not JSON, ErrorReceived."""
        ...

    def build(self, request_hash: str, model: str) -> ModelReply:
        """Return the reply after the stream has ended.

        Raises RetryableError if the stream ended too early.
        """
        ...


class ApiFormat(Struct, frozen=True):
    """One of the two APIs.

    `encode_body` leaves out the optional parts with the given names, and takes the items of the
    request as `encode_items` returns them. Items before a message of the user that follows an
    answer may be encoded apart.
    """

    path: str
    optional_parts: tuple[OptionalPart, ...]
    encode_items: Callable[[Sequence[Item]], EncodedItems]
    encode_body: Callable[[ModelRequest, RequestSettings, frozenset[str], EncodedItems], bytes]
    new_reader: Callable[[TextCallback], ReplyReader]

    def encode(
        self, request: ModelRequest, settings: RequestSettings, omitted: frozenset[str]
    ) -> bytes:
        """Return the body of a request without the optional parts in `omitted`."""
        return self.encode_body(request, settings, omitted, self.encode_items(request.items))


def output_limit(requested: int | None, configured: int | None) -> int | None:
    """Return the lower of the caller's and the operator's limit on the reply, None for no limit."""
    limits = [limit for limit in (requested, configured) if limit]
    return min(limits) if limits else None
