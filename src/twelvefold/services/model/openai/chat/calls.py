"""Assembles the tool calls of a Chat Completions stream.

Servers use `index` and `id` differently, and split calls differently. `_Call.continues` has the
rules.
"""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from twelvefold.core import Item
from twelvefold.services.model.items import function_call, generate_call_id
from twelvefold.services.model.lenient_json import (
    byte_length,
    decode_or_none,
    repair_surrogates,
    split_objects,
)
from twelvefold.services.model.openai.provider_fields import CALL_FIELDS_KEY, ProviderFields

_EMPTY_ARGUMENTS = ("{}", "null", '""')
"""Sent by some servers as the arguments before the real ones."""


class _Piece(Struct, frozen=True):
    """One element of `delta.tool_calls`."""

    index: Any
    id: str
    name: str
    arguments: Any


class CallReader:
    """Assembles calls, in the order of their first pieces. `size` is their length in bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._calls: list[_Call] = []

    @property
    def count(self) -> int:
        return len(self._calls)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, delta: object) -> None:
        """Add one piece. Anything but an object is ignored."""
        if not isinstance(delta, dict):
            return
        piece = _piece(delta)
        call = self._call_of(piece)
        if call is not None and call.repeats(piece):
            return
        if piece.id or piece.name or piece.arguments:
            if call is None or not call.continues(piece):
                call = _Call(piece.index)
                self._calls.append(call)
            call.add(piece)
        if call is not None:
            call.fields.add_call(delta)
        self.size += byte_length(piece.name) + byte_length(_text(piece.arguments))

    def items(self, request_hash: str) -> list[Item]:
        """Return the calls in the form of the journal."""
        items: list[Item] = []
        for call in self._calls:
            fields = {CALL_FIELDS_KEY: call.fields.found} if call.fields.found else {}
            for call_id, name, arguments in call.named_arguments():
                call_id = call_id or generate_call_id(request_hash, len(items))
                items.append(function_call(call_id, name, arguments) | fields)
                fields = {}
        return items

    def _call_of(self, piece: _Piece) -> "_Call | None":
        """Return the call with the id or index of a piece, the last call if it has neither."""
        for call in reversed(self._calls):
            if piece.id == call.id and piece.id and None in (piece.index, call.index):
                return call
        same = (one for one in reversed(self._calls) if piece.index in (None, one.index))
        return next(same, None)


class _Call:
    """A call that is being received."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.id = ""
        self.fields = ProviderFields()
        self._name = ""
        self._arguments: list[Any] = []

    def continues(self, piece: _Piece) -> bool:
        """Return whether a piece with a matching id or index continues this call."""
        if piece.id and self.id and piece.id != self.id:
            # Some servers send a new id with every piece, but the name only with the first.
            return piece.index is not None and not piece.name
        if not piece.name:
            return True
        if piece.id and piece.id == self.id:
            return not (self._is_whole() and _starts_an_object(piece.arguments))
        if not self._arguments:
            # Either the name arrives in pieces or again, or a call without arguments ended.
            known = piece.name == self._name or not piece.arguments
            return piece.index is not None and known
        return piece.name == self._name and not self._is_whole()

    def repeats(self, piece: _Piece) -> bool:
        """Return whether a piece is this whole call again, as some servers send at the end."""
        if not (piece.id and piece.id == self.id and piece.name == self._name):
            return False
        return _starts_an_object(piece.arguments) and _text(piece.arguments) == self._joined()

    def add(self, piece: _Piece) -> None:
        self.id = self.id or piece.id
        if piece.name != self._name:
            self._name += piece.name
        if piece.arguments:
            if len(self._arguments) == 1 and _text(self._arguments[0]).strip() in _EMPTY_ARGUMENTS:
                self._arguments.clear()
            self._arguments.append(piece.arguments)

    def named_arguments(self) -> Iterator[tuple[str, str, str]]:
        """Yield id, name and arguments, for several calls if the server concatenated them."""
        name = repair_surrogates(self._name)
        first, *others = split_objects(self._joined())
        yield repair_surrogates(self.id), name, first
        for arguments in others:
            yield "", name, arguments

    def _is_whole(self) -> bool:
        return isinstance(decode_or_none(self._joined()), dict)

    def _joined(self) -> str:
        return repair_surrogates("".join(map(_text, self._arguments)))


def _piece(delta: dict[str, Any]) -> _Piece:
    # Without `function` its fields are in the call itself.
    function = delta["function"] if isinstance(delta.get("function"), dict) else delta
    id, name, index = delta.get("id"), function.get("name"), delta.get("index")
    return _Piece(
        # Some gateways send the index as text.
        index=int(index) if isinstance(index, str) and index.isdecimal() else index,
        id=str(id) if id or id == 0 else "",
        name=name if isinstance(name, str) else "",
        arguments=function.get("arguments"),
    )


def _text(arguments: Any) -> str:
    """Return arguments as text. Some servers send them as an object."""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False) if arguments else ""


def _starts_an_object(arguments: Any) -> bool:
    return _text(arguments).lstrip().startswith("{")
