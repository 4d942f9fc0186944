"""The tool calls of a Chat Completions stream, put together from their pieces.

Servers disagree on `index`, `id` and how a call is cut. `_Call.continues` has the rules.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twelvefold.core.events import Item
from twelvefold.services.model.openai.provider_fields import CALL, Fields
from twelvefold.services.model.openai.wire import (
    byte_length,
    function_call,
    made_up_call_id,
    mended,
)

_EMPTY = ("{}", "null", '""')
"""What some servers send as arguments before the real ones."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One element of `delta.tool_calls`."""

    index: Any
    id: str
    name: str
    arguments: Any


class Calls:
    """Calls in the order in which they began. `size` is their length in bytes so far."""

    def __init__(self) -> None:
        self.size = 0
        self._calls: list[_Call] = []

    @property
    def count(self) -> int:
        return len(self._calls)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: object) -> None:
        """Take one piece; what is no call is ignored."""
        if not isinstance(delta, dict):
            return
        piece = _piece(delta)
        call = self._call_of(piece)
        if call is not None and call.is_repeated_by(piece):
            return
        if piece.id or piece.name or piece.arguments:
            if call is None or not call.continues(piece):
                call = _Call(piece.index)
                self._calls.append(call)
            call.add(piece)
        if call is not None:
            call.fields.add_of_call(delta)
        self.size += byte_length(piece.name) + byte_length(_text(piece.arguments))

    def items(self, request_hash: str) -> list[Item]:
        """The calls as the journal keeps them."""
        items: list[Item] = []
        for call in self._calls:
            fields = {CALL: call.fields.found} if call.fields.found else {}
            for call_id, name, arguments in call.named_arguments():
                call_id = call_id or made_up_call_id(request_hash, len(items))
                items.append(function_call(call_id, name, arguments) | fields)
                fields = {}
        return items

    def _call_of(self, piece: _Piece) -> "_Call | None":
        """The call that a piece can belong to: by its id, else by its index, else the last one."""
        for call in reversed(self._calls):
            if piece.id == call.id and piece.id and None in (piece.index, call.index):
                return call
        same = (one for one in reversed(self._calls) if piece.index in (None, one.index))
        return next(same, None)


class _Call:
    """A call as it comes in."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.id = ""
        self.fields = Fields()
        self._name = ""
        self._arguments: list[Any] = []

    def continues(self, piece: _Piece) -> bool:
        """Whether a piece that can belong to this call does, or begins another one."""
        if piece.id and self.id and piece.id != self.id:
            # Some servers give every piece a new id. Only the first piece of a call has a name.
            return piece.index is not None and not piece.name
        if not piece.name:
            return True
        if piece.id and piece.id == self.id:
            return not (self._is_whole() and _starts_an_object(piece.arguments))
        if not self._arguments:
            # The name in pieces, or repeated; a call without arguments that another one follows.
            known = piece.name == self._name or not piece.arguments
            return piece.index is not None and known
        return piece.name == self._name and not self._is_whole()

    def is_repeated_by(self, piece: _Piece) -> bool:
        """Whether a piece is this very call again, whole, as some servers end with."""
        if not (piece.id and piece.id == self.id and piece.name == self._name):
            return False
        return _starts_an_object(piece.arguments) and _text(piece.arguments) == self._joined()

    def add(self, piece: _Piece) -> None:
        self.id = self.id or piece.id
        if piece.name != self._name:
            self._name += piece.name
        if piece.arguments:
            if len(self._arguments) == 1 and _text(self._arguments[0]).strip() in _EMPTY:
                self._arguments.clear()
            self._arguments.append(piece.arguments)

    def named_arguments(self) -> Iterator[tuple[str, str, str]]:
        """Id, name and arguments; of several calls where the server has run them together."""
        name = mended(self._name)
        first, *others = objects_in(self._joined())
        yield mended(self.id), name, first
        for arguments in others:
            yield "", name, arguments

    def _is_whole(self) -> bool:
        return isinstance(_loads(self._joined()), dict)

    def _joined(self) -> str:
        return mended("".join(map(_text, self._arguments)))


def _piece(delta: dict[str, Any]) -> _Piece:
    # `function` may be missing: then its fields stand in the call itself.
    function = delta["function"] if isinstance(delta.get("function"), dict) else delta
    id, name, index = delta.get("id"), function.get("name"), delta.get("index")
    return _Piece(
        # A gateway may pass on a number as text, and write its own as one.
        index=int(index) if isinstance(index, str) and index.isdecimal() else index,
        id=str(id) if id or id == 0 else "",
        name=name if isinstance(name, str) else "",
        arguments=function.get("arguments"),
    )


def _text(arguments: Any) -> str:
    """Arguments as text; some servers send them as an object."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False) if arguments else ""


def _starts_an_object(arguments: Any) -> bool:
    return _text(arguments).lstrip().startswith("{")


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def objects_in(text: str) -> list[str]:
    """The JSON objects that a text is made of, empty and repeated ones left out.

    The text itself where it is one object, or anything else.
    """
    value = _loads(text)
    if isinstance(value, str) and isinstance(_loads(value), dict):
        return [value]  # encoded twice
    if value is not None or not text.startswith("{"):
        return [text]
    found: list[str] = []
    for one in _concatenated(text):
        if one not in (*found, "{}"):
            found.append(one)
    return found or [text]


def _concatenated(text: str) -> list[str]:
    """The objects of `{…}{…}` as they are written; none if there is anything else in it."""
    decode = json.JSONDecoder().raw_decode
    found: list[str] = []
    while text := text.lstrip():
        try:
            value, end = decode(text)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(text[:end])
        text = text[end:]
    return found
