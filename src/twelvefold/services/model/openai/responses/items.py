"""Assembles the output items of a Responses stream.

OpenAI sends the deltas of each item and then the whole item. Other servers send only the deltas,
omit ids and indexes, or send the items only in the last event.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from twelvefold.core import Item
from twelvefold.services.model.items import function_call, generate_call_id, text_of
from twelvefold.services.model.lenient_json import byte_length, repair_surrogates, split_objects


class Event(Protocol):
    """The fields of an event about one item."""

    @property
    def delta(self) -> Any: ...
    @property
    def text(self) -> Any: ...
    @property
    def refusal(self) -> Any: ...
    @property
    def arguments(self) -> Any: ...
    @property
    def name(self) -> Any: ...
    @property
    def item_id(self) -> Any: ...
    @property
    def output_index(self) -> Any: ...


@dataclass(slots=True)
class _PartialItem:
    """An item that is being received. `done` is the whole item, if the server sent it."""

    item_id: Any
    output_index: Any
    item: Item
    kind: str
    done: Item | None = None
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def matches(self, item_id: Any, output_index: Any) -> bool | None:
        """Return whether an event is about this item, None if no id or index can be compared."""
        if item_id and self.item_id:
            return bool(item_id == self.item_id)
        if output_index is None or self.output_index is None:
            return None
        return bool(output_index == self.output_index)

    def result(self) -> Item | None:
        """Return the item, None if it has no content."""
        if self.done is not None:
            return self.with_pieces(self.done)
        match self.kind:
            case "message":
                return self.with_pieces(self.item) if self.text or self.refusal else None
            case "function_call":
                return self.with_pieces(self.item) if self.item.get("name") else None
            case _:
                return None

    def with_pieces(self, item: Item) -> Item:
        """Return the item with the content of the pieces, if the item itself has none."""
        if self.kind == "message" and not text_of(item.get("content")) and (parts := self._parts()):
            return {"type": "message", "role": "assistant", **item, "content": parts}
        lacks_arguments = item.get("arguments") in (None, "", "{}")
        if self.kind == "function_call" and lacks_arguments and self.arguments:
            arguments = repair_surrogates("".join(self.arguments))
            return item | {"arguments": split_objects(arguments)[0]}
        return item

    def _parts(self) -> list[Item]:
        text = repair_surrogates("".join(self.text))
        refusal = repair_surrogates("".join(self.refusal))
        parts: list[Item] = []
        if text:
            parts.append({"type": "output_text", "text": text, "annotations": []})
        if refusal:
            parts.append({"type": "refusal", "refusal": refusal})
        return parts


class ItemReader:
    """Assembles items, in the order in which they started.

    `size` is their length in bytes, without the text of deltas.
    """

    def __init__(self) -> None:
        self.size = 0
        self._partials: list[_PartialItem] = []

    @property
    def started(self) -> int:
        return len(self._partials)

    @property
    def has_items(self) -> bool:
        return any(partial.result() is not None for partial in self._partials)

    def start(self, event: Event, item: Item) -> None:
        """Add an item whose pieces follow."""
        item_id = item.get("id") or event.item_id
        kind = str(item.get("type") or "message")
        self._partials.append(_PartialItem(item_id, event.output_index, item, kind))

    def finish(self, event: Event, item: Item) -> None:
        """Add a whole item."""
        kind = str(item.get("type") or "message")
        partial = self._partial_for(kind, item.get("id") or event.item_id, event.output_index)
        if not (partial.text or partial.arguments or partial.refusal):
            self.size += len(msgspec.json.encode(item))
        partial.done = item

    def add_text(self, event: Event, *, refused: bool) -> None:
        """Add a piece of a message's text, or of its refusal."""
        if isinstance(event.delta, str):
            partial = self._partial_for("message", event.item_id, event.output_index)
            (partial.refusal if refused else partial.text).append(event.delta)

    def set_text(self, event: Event, *, refused: bool) -> None:
        """Set a message's whole text, if no pieces were received."""
        text = event.refusal if refused else event.text
        if not isinstance(text, str) or self._is_done(event):
            return
        partial = self._partial_for("message", event.item_id, event.output_index)
        pieces = partial.refusal if refused else partial.text
        if not pieces:
            pieces.append(text)
            self.count(text)

    def add_arguments(self, event: Event) -> None:
        """Add a piece of a call's arguments."""
        if isinstance(event.delta, str):
            partial = self._partial_for("function_call", event.item_id, event.output_index)
            partial.arguments.append(event.delta)
            self.count(event.delta)

    def set_arguments(self, event: Event) -> None:
        """Set a call's whole arguments, and its name if the event has it."""
        if self._is_done(event):
            return
        partial = self._partial_for("function_call", event.item_id, event.output_index)
        if isinstance(event.name, str) and event.name:
            partial.item = {**partial.item, "name": partial.item.get("name") or event.name}
        if isinstance(event.arguments, str) and event.arguments:
            partial.arguments = [event.arguments]
            self.count(event.arguments)

    def count(self, text: str) -> None:
        """Add to `size` text that belongs to the output, such as reasoning."""
        self.size += byte_length(text)

    def count_items(self, items: Sequence[Item]) -> None:
        """Add to `size` items that were received whole, except messages."""
        others = [item for item in items if item.get("type", "message") != "message"]
        self.size += len(msgspec.json.encode(others)) if others else 0

    def with_output(self, output: Sequence[Item]) -> list[Item]:
        """Return the items, or those of the response's last event if it has more."""
        found = [
            (partial, item) for partial in self._partials if (item := partial.result()) is not None
        ]
        are_done = all(partial.done is not None for partial, _ in found)
        if len(output) < len(found) or (len(output) == len(found) and are_done):
            return [item for _, item in found]
        partials = [partial for partial, _ in found]
        return [_with_pieces_of(item, partials) for item in output]

    def _is_done(self, event: Event) -> bool:
        return any(
            partial.done is not None and partial.matches(event.item_id, event.output_index)
            for partial in self._partials
        )

    def _partial_for(self, kind: str, item_id: Any, output_index: Any) -> _PartialItem:
        """Return the item that an event is about, a new one if none matches."""
        if self._partials:
            last = self._partials[-1]
            is_same_item = last.kind == kind and last.item_id == item_id and last.done is None
            if is_same_item and last.output_index == output_index:
                # The common case. The rest is for servers that omit ids and indexes.
                return last
        for partial in reversed(self._partials):
            if partial.done is None and partial.kind == kind:
                same = partial.matches(item_id, output_index)
                if same or same is None:
                    return partial
        partial = _PartialItem(item_id, output_index, {"type": kind}, kind)
        self._partials.append(partial)
        return partial


def _with_pieces_of(item: Item, partials: list[_PartialItem]) -> Item:
    """Return an item of the last event with its pieces. Uses each partial item once."""
    kind = str(item.get("type") or "message")
    partial = next((one for one in partials if one.kind == kind), None)
    if partial is None:
        return item
    partials.remove(partial)
    return partial.with_pieces(item)


def normalize_item(item: Item, index: int, request_hash: str) -> Item:
    """Return the item without empty fields and ids. Only the id of a reasoning item is needed."""
    normalized = {key: value for key, value in item.items() if value is not None}
    normalized.setdefault("type", "function_call" if "arguments" in normalized else "message")
    match normalized["type"]:
        case "message":
            normalized.pop("id", None)
            parts = _parts(normalized.get("content"))
            normalized["content"] = [_normalized_part(part) for part in parts]
        case "function_call":
            normalized.pop("id", None)
            call_id = normalized.get("call_id") or generate_call_id(request_hash, index)
            name, arguments = normalized.get("name", ""), normalized.get("arguments")
            normalized |= function_call(call_id, name, arguments)
        case "reasoning":
            normalized.pop("status", None)
        case str(kind) if not kind.startswith("mcp_"):
            return item  # as received, because it is returned to the same server
    if normalized.get("status") == "completed":
        del normalized["status"]
    return normalized


def _parts(content: object) -> list[Item]:
    if isinstance(content, str):
        return [{"type": "output_text", "text": content, "annotations": []}]
    if not isinstance(content, list):
        return [content] if isinstance(content, dict) else []
    return [part for one in content for part in ([one] if isinstance(one, dict) else _parts(one))]


def _normalized_part(part: Item) -> Item:
    return {key: value for key, value in part.items() if key != "logprobs" or value}
