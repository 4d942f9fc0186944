"""A response's output as it grows: every change to it as the events that tell of it.

Numbers the events and the items. What an event holds is never changed afterwards.
"""

from dataclasses import dataclass, field

from twelvefold.web.projection import objects as shapes
from twelvefold.web.schemas.types import ItemStatus, Json


@dataclass(slots=True)
class Draft:
    """A message that is being shown as it comes; `first` is the number of its first delta."""

    id: str
    index: int
    first: int
    pieces: list[str] = field(default_factory=list)
    length: int = 0


class Output:
    """The items so far, and the events that were not taken yet."""

    def __init__(self) -> None:
        self.draft: Draft | None = None
        self._items: list[Json] = []
        self._events: list[Json] = []
        self._number = 0

    def items(self) -> list[Json]:
        """All items as of now, in the order in which they were begun."""
        items = list(self._items)
        if self.draft:
            part = shapes.output_text("".join(self.draft.pieces))
            items[self.draft.index] = shapes.message(self.draft.id, "in_progress", [part])
        return items

    def take(self) -> list[Json]:
        """The events since the last time, in order."""
        events, self._events = self._events, []
        return events

    def tell(self, type: str, **fields: object) -> None:
        """Add an event with the next number."""
        self._events.append({"type": type, "sequence_number": self._number, **fields})
        self._number += 1

    # --- items -------------------------------------------------------------------------------

    def begin(self, item: Json) -> int:
        """Add an item that is not done yet; its index in the output."""
        index = len(self._items)
        self._items.append(item)
        self.tell("response.output_item.added", output_index=index, item=item)
        return index

    def done(self, index: int, item: Json) -> None:
        """Put the item as it has become in the place of the one that was begun."""
        self._items[index] = item
        self.tell("response.output_item.done", output_index=index, item=item)

    def whole(self, item: Json, begun: Json | None = None) -> None:
        """Add an item that is done at once; `begun` is how it looks when it is added."""
        self.done(self.begin(begun or item), item)

    def update(self, index: int, item: Json) -> None:
        """Change an item that is under way, with no event of its own."""
        self._items[index] = item

    # --- messages ----------------------------------------------------------------------------

    def open_draft(self, id: str, first: int) -> Draft:
        index = self.begin(shapes.message(id, "in_progress", []))
        self.draft = draft = Draft(id, index, first)
        self._tell_part("response.content_part.added", draft.id, index, 0, shapes.output_text(""))
        return draft

    def write(self, draft: Draft, text: str) -> None:
        draft.pieces.append(text)
        draft.length += len(text)
        self._tell_text(draft.id, draft.index, 0, text)

    def give_up_draft(self) -> None:
        """End the draft, if there is one, as what it is: a piece of a message that never came."""
        if self.draft:
            part = shapes.output_text("".join(self.draft.pieces))
            self.close_draft(part, "incomplete")

    def close_draft(self, part: Json, status: ItemStatus, phase: str | None = None) -> None:
        if draft := self.draft:
            self.draft = None
            self._tell_part_done(draft.id, draft.index, 0, part)
            self.done(draft.index, shapes.message(draft.id, status, [part], phase))

    def whole_message(self, item: Json) -> None:
        """Tell a message that was never shown in pieces."""
        id: str = item["id"]
        index = self.begin(shapes.message(id, "in_progress", []))
        for at, part in enumerate(item["content"]):
            empty = part | ({"text": ""} if part["type"] == "output_text" else {"refusal": ""})
            self._tell_part("response.content_part.added", id, index, at, empty)
            self._tell_whole_part(id, index, at, part)
        self.done(index, item)

    def _tell_whole_part(self, id: str, index: int, at: int, part: Json) -> None:
        if part["type"] == "output_text" and part["text"]:
            self._tell_text(id, index, at, part["text"])
        elif part["type"] == "refusal":
            fields = {"item_id": id, "output_index": index, "content_index": at}
            self.tell("response.refusal.delta", **fields, delta=part["refusal"])
        self._tell_part_done(id, index, at, part)

    def _tell_text(self, id: str, index: int, at: int, text: str) -> None:
        self.tell(
            "response.output_text.delta",
            item_id=id,
            output_index=index,
            content_index=at,
            delta=text,
            logprobs=[],
        )

    def _tell_part(self, type: str, id: str, index: int, at: int, part: Json) -> None:
        self.tell(type, item_id=id, output_index=index, content_index=at, part=part)

    def _tell_part_done(self, id: str, index: int, at: int, part: Json) -> None:
        fields = {"item_id": id, "output_index": index, "content_index": at}
        if part["type"] == "refusal":
            self.tell("response.refusal.done", **fields, refusal=part["refusal"])
        else:
            self.tell("response.output_text.done", **fields, text=part["text"], logprobs=[])
        self._tell_part("response.content_part.done", id, index, at, part)
