"""What the two APIs of OpenAI have in common, and what `openai` asks of either.

`responses` and `chat` each make a `Wire`; what is particular to one of them is known only there.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from twelvefold.core.events import Item, Usage
from twelvefold.core.ports import ModelReply, ModelRequest
from twelvefold.errors import TwelvefoldError
from twelvefold.services.model.openai.encoding.optional_parts import Part

DONE = b"[DONE]"
MALFORMED = "the stream had malformed JSON in it"
UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding raises, the two latter for bytes that are no text and for endless nesting."""
Show = Callable[[str], None]


class TryAgain(TwelvefoldError):
    """This attempt is void, and `why` says so; another one may do. It never leaves this package.

    `after_s` is the server's own word on when, `status` what it answered with, 0 for no answer.
    """

    def __init__(self, why: str, *, after_s: float | None = None, status: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.after_s = after_s
        self.status = status


class ErrorSent(Exception):
    """The server sent an error in place of a reply, or within it; `error` is its error object."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error))
        self.error = error


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
    long silence is no thinking. `finished`: it is whole; only usage may follow. `over`: nothing
    that matters follows. `usage` is what the server has reported so far, `received` the length of
    text, calls and reasoning in bytes, `item_count` how many items have begun.
    """

    @property
    def shown(self) -> bool: ...
    @property
    def flowing(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    @property
    def over(self) -> bool: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def received(self) -> int: ...
    @property
    def item_count(self) -> int: ...

    def add(self, data: bytes) -> None:
        """Take the data of one event. Raises TryAgain if it is not JSON, or ErrorSent."""
        ...

    def whole(self, request_hash: str, model: str) -> ModelReply:
        """The reply, once the stream has ended. Raises TryAgain if it ended too early."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """One of the two APIs. `encode` leaves out the parts whose names it is given."""

    path: str
    optional: tuple[Part, ...]
    encode: Callable[[ModelRequest, Asking, frozenset[str]], bytes]
    reply: Callable[[Show], Reply]


def output_limit(wanted: int | None, limit: int | None) -> int | None:
    """How long a reply may be: the caller's wish, never more than the operator's limit."""
    given = [one for one in (wanted, limit) if one]
    return min(given) if given else None


class Text:
    """A text that comes in pieces, shown as it does; a character may be split over two of them.

    `size` is its length in bytes.
    """

    def __init__(self, show: Show) -> None:
        self.size = 0
        self._show = show
        self._pieces: list[str] = []
        self._half = ""

    @property
    def so_far(self) -> str:
        """The text without half a character at its end."""
        return "".join(self._pieces)

    def add(self, piece: object) -> None:
        if not isinstance(piece, str):
            return
        if self._half or not piece.isascii():
            piece = self._joined(self._half + piece)
        if piece:
            self._pieces.append(piece)
            self.size += byte_length(piece)
            self._show(piece)

    def end(self) -> str:
        """The whole text; half a character that is left over is shown as U+FFFD."""
        if self._half:
            self._half = ""
            self.add("\ufffd")
        return self.so_far

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def _joined(self, piece: str) -> str:
        self._half = piece[-1] if "\ud800" <= piece[-1] <= "\udbff" else ""
        return mended(piece[:-1] if self._half else piece)


def mended(text: str) -> str:
    """Surrogates in pairs as the character that they stand for; a lone one as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def byte_length(text: str) -> int:
    """The length in bytes of UTF-8; half a character counts, too."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def loads(data: bytes) -> Any:
    """JSON with whatever surrogates it has, which msgspec refuses. Raises TryAgain."""
    try:
        return json.loads(data)
    except UNREADABLE:
        raise TryAgain(MALFORMED).loggable() from None


def dumps_mended(value: Any) -> bytes:
    """The value as JSON again, without lone surrogates."""
    return mended(json.dumps(value, ensure_ascii=False)).encode()


def error_in(sent: object) -> Mapping[str, Any] | None:
    """The error object in what a server has sent; None if it is no error.

    Its `message` is what a person can read, where there is any.
    """
    if isinstance(sent, list):
        return next((error for one in sent if (error := error_in(one))), None)
    if not isinstance(sent, dict):
        return None
    error = sent.get("error")
    outer = {key: value for key, value in sent.items() if key not in ("error", "object")}
    if isinstance(error, dict) and error:
        return _with_cause(error if error.get("message") else _with_message(error))
    if error:
        return _with_message(outer if error is True else outer | {"message": _said(outer, error)})
    if sent.get("object") == "error" or sent.get("type") == "error" or _is_bare_error(sent):
        return _with_message(outer)
    return _minimax_error(sent.get("base_resp"))


def _with_cause(error: dict[str, Any]) -> dict[str, Any]:
    """The error with what a gateway (OpenRouter) was told by the server behind it."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not raw:
        return error
    with suppress(*UNREADABLE):
        raw = json.loads(raw) if isinstance(raw, str) else raw
    cause = (error_in(raw) or {}).get("message") or raw
    return error | {"message": f"{error.get('message') or 'the server behind it says'}: {cause}"}


def _minimax_error(status: object) -> dict[str, Any] | None:
    """MiniMax says beside an empty reply that it failed, with a number of its own."""
    if not isinstance(status, dict) or not status.get("status_code"):
        return None
    return {"message": status.get("status_msg") or f"status {status['status_code']}"}


_REPLY_FIELDS = ("choices", "output", "response", "delta", "item", "id")


def _is_bare_error(sent: dict[str, Any]) -> bool:
    """Whether it is nothing but a message or a detail."""
    told = any(sent.get(name) for name in ("message", "detail", "errors", "msg"))
    return told and not any(name in sent for name in _REPLY_FIELDS)


def _said(outer: dict[str, Any], error: object) -> object:
    """Some servers name the kind of error in `error`, and say in `message` what it was."""
    return outer.get("message") or error


def _with_message(error: dict[str, Any]) -> dict[str, Any]:
    names = ("message", "detail", "errors", "msg")
    found = next((error[name] for name in names if error.get(name)), None)
    return error if found is None or found == error.get("message") else error | {"message": found}


def text_of(content: object) -> str:
    """What a message's content says, refusals included; thoughts are not said."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    return "".join(map(_part_text, content)) if isinstance(content, list | tuple) else ""


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or str(part.get("type")) in _THOUGHTS:
        return ""
    text = part.get("text") or part.get("refusal") or ""
    return text if isinstance(text, str) else ""


_THOUGHTS = ("thinking", "reasoning", "reasoning_text", "thought", "redacted_thinking")


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
