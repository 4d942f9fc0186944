"""A reader of a streamed run, which yields the same events live or later.

Deltas count at the position after the last entry. The cuts of a whole reply and
the rest of its text become the same events as the deltas would have been.
"""

from collections.abc import Iterable

from tests.engine.stage import Stage
from twelvefold.core.events import Entry, Event, ModelReplied
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Delta, Store
from twelvefold.engine.delta_writer import only_text

StreamEvent = tuple[object, ...]


class Reader:
    """Reads a run from time to time; `events` is everything that it has read."""

    def __init__(self, store: Store, thread: ThreadId) -> None:
        self.events: list[StreamEvent] = []
        self._store = store
        self._thread = thread
        self._position = 0
        self._number = 0
        self._first = 0
        self._pieces: list[str] = []

    async def look(self) -> None:
        """Read on from where the last read ended."""
        after = (self._position + 1, self._number)
        journal = await self._store.follow(self._thread, after=self._position, deltas_after=after)
        for entry in journal.entries:
            self._pass(delta for delta in journal.deltas if self._is_before(delta, entry))
            self._end(entry)
        self._pass(delta for delta in journal.deltas if delta.position == self._position + 1)

    def _is_before(self, delta: Delta, entry: Entry) -> bool:
        reply = entry.event
        last = reply.first_delta if isinstance(reply, ModelReplied) else 0
        return delta.position == entry.position and (not last or delta.number < last)

    def _pass(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            assert delta.number == self._number + 1
            self._number = delta.number
            if delta.kind == "restarted":
                self._give_up()
            else:
                self._first = self._first or delta.number
                self._text(delta.text)

    def _text(self, piece: str) -> None:
        self._pieces.append(piece)
        self.events.append(("text", self._position + 1, self._first, piece))

    def _give_up(self) -> None:
        if self._pieces:
            self.events.append(("given up", self._position + 1, self._first))
        self._first, self._pieces = 0, []

    def _end(self, entry: Entry) -> None:
        reply = entry.event
        if isinstance(reply, ModelReplied) and reply.first_delta:
            self._text_rest(reply)
        else:
            self._give_up()
            self._text_all(reply)
        self.events.append((type(reply).__name__, entry.position))
        self._position, self._number, self._first, self._pieces = entry.position, 0, 0, []

    def _text_all(self, event: Event) -> None:
        if isinstance(event, ModelReplied) and (text := only_text(event.items)):
            self._text(text)

    def _text_rest(self, reply: ModelReplied) -> None:
        text = only_text(reply.items)
        assert text is not None
        assert self._first in (0, reply.first_delta)
        self._first = reply.first_delta
        for length in (*reply.cuts[len(self._pieces) :], len(text)):
            start = sum(map(len, self._pieces))
            if piece := text[start : start + length]:
                self._text(piece)
        assert "".join(self._pieces) == text
        assert tuple(map(len, self._pieces[: len(reply.cuts)])) == reply.cuts


async def read_events(stage: Stage, run: RunId) -> list[StreamEvent]:
    """Return the events of a reader that reads the run when it is over."""
    reader = Reader(stage.process().store, run.thread)
    await reader.look()
    return reader.events
