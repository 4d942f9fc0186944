"""What the two APIs of OpenAI have in common, and what `openai` asks of either.

`responses` and `chat` each make a `Wire`; what is particular to one of them is known only there.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from twelvefold.core.events import Item
from twelvefold.core.ports import ModelReply, ModelRequest

DONE = b"[DONE]"
MALFORMED = "the stream had malformed JSON in it"
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises, the two latter for bytes that are no text and for endless nesting."""
Show = Callable[[str], None]


class TryAgain(Exception):
    """This attempt is void, and `why` says so; another one may do.

    `after_s` is the server's own word on when.
    """

    def __init__(self, why: str, *, after_s: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.after_s = after_s


class ErrorSent(Exception):
    """The server said in the middle of a stream that it failed; `error` is its error object."""

    def __init__(self, error: object) -> None:
        super().__init__(str(error))
        self.error: dict[str, Any] = error if isinstance(error, dict) else {"message": error}


class Asking(Protocol):
    """What goes into every request beside the conversation."""

    @property
    def model(self) -> str: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def max_output_tokens(self) -> int | None: ...


class Reply(Protocol):
    """A reply as it comes in.

    `shown`: some of its text was. `flowing`: it is in the middle of a text or a call, where a
    long silence is no thinking. `over`: nothing that matters follows.
    """

    @property
    def shown(self) -> bool: ...
    @property
    def flowing(self) -> bool: ...
    @property
    def over(self) -> bool: ...

    def add(self, data: bytes) -> None:
        """Take the data of one event. Raises TryAgain if it is not JSON, or ErrorSent."""
        ...

    def whole(self, request_hash: str, model: str) -> ModelReply:
        """The reply, once the stream has ended. Raises TryAgain if it ended too early."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a request that a server may refuse and that can be left out.

    One of `words` is in the refusal. `always`: it will be refused in every other request, too.
    """

    name: str
    words: tuple[str, ...]
    always: bool = True


@dataclass(frozen=True, slots=True)
class Wire:
    """One of the two APIs. `encode` leaves out the parts whose names it is given."""

    path: str
    optional: tuple[Part, ...]
    encode: Callable[[ModelRequest, Asking, frozenset[str]], bytes]
    reply: Callable[[Show], Reply]


class Text:
    """A text that comes in pieces, shown as it does; a character may be split over two of them."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._pieces: list[str] = []
        self._half = ""

    def add(self, piece: object) -> None:
        if not isinstance(piece, str):
            return
        if self._half or not piece.isascii():
            piece = self._joined(self._half + piece)
        if piece:
            self._pieces.append(piece)
            self._show(piece)

    def end(self) -> str:
        """The whole text; half a character that is left over is shown as U+FFFD."""
        if self._half:
            self._half = ""
            self.add("\ufffd")
        return "".join(self._pieces)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def _joined(self, piece: str) -> str:
        self._half = piece[-1] if "\ud800" <= piece[-1] <= "\udbff" else ""
        return mended(piece[:-1] if self._half else piece)


def mended(text: str) -> str:
    """Surrogates in pairs as the character that they stand for; a lone one as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def loads(data: bytes) -> Any:
    """JSON with whatever surrogates it has, which msgspec refuses. Raises TryAgain."""
    try:
        return json.loads(data)
    except UNREADABLE:
        raise TryAgain(MALFORMED) from None


def dumps_mended(value: Any) -> bytes:
    """The value as JSON again, without lone surrogates."""
    return mended(json.dumps(value, ensure_ascii=False)).encode()


def text_of(content: str | Iterable[Item] | None) -> str:
    """What a message's content says, refusals included."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content or ())


def message(text: str, refusal: str = "") -> Item:
    """An assistant's message as the journal keeps it."""
    content: list[Item] = []
    if text or not refusal:
        content.append({"type": "output_text", "text": text, "annotations": []})
    if refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return {"type": "message", "role": "assistant", "content": content}


def function_call(call_id: str, name: str, arguments: object) -> Item:
    """A call as the journal keeps it. Some servers send the arguments as an object, or none."""
    if not isinstance(arguments, str):
        arguments = dumps_mended(arguments or {}).decode()
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments or "{}",
    }


def made_up_call_id(request_hash: str, index: int) -> str:
    """For servers that give their calls no id: the same for the same request, and for no other."""
    return f"call_{request_hash[:24]}{index}"


def count(usage: Any, *path: str) -> int:
    """A number of tokens out of a usage object, zero where the server is silent."""
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if isinstance(usage, int) else 0
