"""The output items of a Responses stream, whole or put together from their pieces.

OpenAI sends each item whole in the end. Other servers send only the deltas, or leave out ids and
indexes, or have the items in the last event alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from twelvefold.core.events import Item
from twelvefold.services.model.openai.chat.calls import objects_in
from twelvefold.services.model.openai.wire import (
    byte_length,
    function_call,
    made_up_call_id,
    mended,
    text_of,
)


class Event(Protocol):
    """What an event says of the item that it is about."""

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
class _Draft:
    """An item as it comes in. `done` is the item whole, as the server has sent it."""

    item_id: Any
    output_index: Any
    item: Item
    kind: str
    done: Item | None = None
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def is_of(self, item_id: Any, output_index: Any) -> bool | None:
        """Whether an event is about this item; None if the two say nothing in common."""
        if item_id and self.item_id:
            return bool(item_id == self.item_id)
        if output_index is None or self.output_index is None:
            return None
        return bool(output_index == self.output_index)

    def result(self) -> Item | None:
        """The item; None if nothing came of it."""
        if self.done is not None:
            return self.filled(self.done)
        match self.kind:
            case "message":
                return self.filled(self.item) if self.text or self.refusal else None
            case "function_call":
                return self.filled(self.item) if self.item.get("name") else None
            case _:
                return None

    def filled(self, item: Item) -> Item:
        """The item with the pieces, where it lacks what they say."""
        if self.kind == "message" and not text_of(item.get("content")) and (parts := self._parts()):
            return {"type": "message", "role": "assistant", **item, "content": parts}
        lacks_arguments = item.get("arguments") in (None, "", "{}")
        if self.kind == "function_call" and lacks_arguments and self.arguments:
            return item | {"arguments": objects_in(mended("".join(self.arguments)))[0]}
        return item

    def _parts(self) -> list[Item]:
        text, refusal = mended("".join(self.text)), mended("".join(self.refusal))
        parts: list[Item] = []
        if text:
            parts.append({"type": "output_text", "text": text, "annotations": []})
        if refusal:
            parts.append({"type": "refusal", "refusal": refusal})
        return parts


class Items:
    """Items in the order in which they began.

    `size` is their length in bytes, without the text that came in deltas.
    """

    def __init__(self) -> None:
        self.size = 0
        self._drafts: list[_Draft] = []

    @property
    def begun(self) -> int:
        return len(self._drafts)

    @property
    def are_any(self) -> bool:
        return any(draft.result() is not None for draft in self._drafts)

    def begin(self, event: Event, item: Item) -> None:
        """Take an item that is about to come in pieces."""
        item_id = item.get("id") or event.item_id
        kind = str(item.get("type") or "message")
        self._drafts.append(_Draft(item_id, event.output_index, item, kind))

    def finish(self, event: Event, item: Item) -> None:
        """Take a whole item."""
        kind = str(item.get("type") or "message")
        draft = self._open(kind, item.get("id") or event.item_id, event.output_index)
        if not (draft.text or draft.arguments or draft.refusal):
            self.size += len(msgspec.json.encode(item))
        draft.done = item

    def add_text(self, event: Event, *, refused: bool) -> None:
        """Take a piece of a message's text, or of its refusal."""
        if isinstance(event.delta, str):
            draft = self._open("message", event.item_id, event.output_index)
            (draft.refusal if refused else draft.text).append(event.delta)

    def set_text(self, event: Event, *, refused: bool) -> None:
        """Take a message's whole text, where its pieces did not come."""
        text = event.refusal if refused else event.text
        if not isinstance(text, str) or self._is_done(event):
            return
        draft = self._open("message", event.item_id, event.output_index)
        pieces = draft.refusal if refused else draft.text
        if not pieces:
            pieces.append(text)
            self.count(text)

    def add_arguments(self, event: Event) -> None:
        """Take a piece of a call's arguments."""
        if isinstance(event.delta, str):
            draft = self._open("function_call", event.item_id, event.output_index)
            draft.arguments.append(event.delta)
            self.count(event.delta)

    def set_arguments(self, event: Event) -> None:
        """Take a call's whole arguments, and its name if the server repeats it."""
        if self._is_done(event):
            return
        draft = self._open("function_call", event.item_id, event.output_index)
        if isinstance(event.name, str) and event.name:
            draft.item = {**draft.item, "name": draft.item.get("name") or event.name}
        if isinstance(event.arguments, str) and event.arguments:
            draft.arguments = [event.arguments]
            self.count(event.arguments)

    def count(self, text: str) -> None:
        """Count text that belongs to the output, such as reasoning."""
        self.size += byte_length(text)

    def count_items(self, items: Sequence[Item]) -> None:
        """Count items that came in one piece, but for the messages."""
        others = [item for item in items if item.get("type", "message") != "message"]
        self.size += len(msgspec.json.encode(others)) if others else 0

    def with_output(self, output: Sequence[Item]) -> list[Item]:
        """The items, or those of the response's last event where that has more of them."""
        found = [(draft, item) for draft in self._drafts if (item := draft.result()) is not None]
        are_done = all(draft.done is not None for draft, _ in found)
        if len(output) < len(found) or (len(output) == len(found) and are_done):
            return [item for _, item in found]
        drafts = [draft for draft, _ in found]
        return [_filled(item, drafts) for item in output]

    def _is_done(self, event: Event) -> bool:
        return any(
            draft.done is not None and draft.is_of(event.item_id, event.output_index)
            for draft in self._drafts
        )

    def _open(self, kind: str, item_id: Any, output_index: Any) -> _Draft:
        """The item that an event is about, a new one if none is open."""
        if self._drafts:
            last = self._drafts[-1]
            its_own = last.kind == kind and last.item_id == item_id and last.done is None
            if its_own and last.output_index == output_index:
                # Nearly always; the rest is for servers that leave ids and indexes out.
                return last
        for draft in reversed(self._drafts):
            if draft.done is None and draft.kind == kind:
                same = draft.is_of(item_id, output_index)
                if same or same is None:
                    return draft
        draft = _Draft(item_id, output_index, {"type": kind}, kind)
        self._drafts.append(draft)
        return draft


def _filled(item: Item, drafts: list[_Draft]) -> Item:
    """An item of the last event with the pieces that came of it; each draft is used once."""
    kind = str(item.get("type") or "message")
    draft = next((one for one in drafts if one.kind == kind), None)
    if draft is None:
        return item
    drafts.remove(draft)
    return draft.filled(item)


def kept(item: Item, index: int, request_hash: str) -> Item:
    """The item without what says nothing. Only a reasoning item's id is ever asked for again."""
    kept = {key: value for key, value in item.items() if value is not None}
    kept.setdefault("type", "function_call" if "arguments" in kept else "message")
    match kept["type"]:
        case "message":
            kept.pop("id", None)
            kept["content"] = [_kept_part(part) for part in _parts(kept.get("content"))]
        case "function_call":
            kept.pop("id", None)
            call_id = kept.get("call_id") or made_up_call_id(request_hash, index)
            kept |= function_call(call_id, kept.get("name", ""), kept.get("arguments"))
        case "reasoning":
            kept.pop("status", None)
        case str(kind) if not kind.startswith("mcp_"):
            return item  # as received: it goes back to the server that made it
    if kept.get("status") == "completed":
        del kept["status"]
    return kept


def _parts(content: object) -> list[Item]:
    if isinstance(content, str):
        return [{"type": "output_text", "text": content, "annotations": []}]
    if not isinstance(content, list):
        return [content] if isinstance(content, dict) else []
    return [part for one in content for part in ([one] if isinstance(one, dict) else _parts(one))]


def _kept_part(part: Item) -> Item:
    return {key: value for key, value in part.items() if key != "logprobs" or value}
