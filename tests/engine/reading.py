"""A reader of a streamed run, as others would write one: what it tells, live or later.

Deltas count at the position behind the last entry. What a whole reply says of its pieces, and
what it leaves of the text, is told as the pieces would have been.
"""

from collections.abc import Iterable

from tests.engine.stage import Stage
from twelvefold.core.events import Entry, Event, ModelReplied
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Delta, Store
from twelvefold.engine.delta_writer import only_text

Told = tuple[object, ...]


class Reader:
    """What somebody sees who looks now and then; `told` is all of it so far."""

    def __init__(self, store: Store, thread: ThreadId) -> None:
        self.told: list[Told] = []
        self._store = store
        self._thread = thread
        self._position = 0
        self._number = 0
        self._first = 0
        self._pieces: list[str] = []

    async def look(self) -> None:
        """Read on from where the last look ended."""
        after = (self._position + 1, self._number)
        heard = await self._store.follow(self._thread, after=self._position, deltas_after=after)
        for entry in heard.entries:
            self._pass(delta for delta in heard.deltas if self._is_before(delta, entry))
            self._end(entry)
        self._pass(delta for delta in heard.deltas if delta.position == self._position + 1)

    def _is_before(self, delta: Delta, entry: Entry) -> bool:
        whole = entry.event
        last = whole.first_delta if isinstance(whole, ModelReplied) else 0
        return delta.position == entry.position and (not last or delta.number < last)

    def _pass(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            assert delta.number == self._number + 1
            self._number = delta.number
            if delta.kind == "restarted":
                self._give_up()
            else:
                self._first = self._first or delta.number
                self._say(delta.text)

    def _say(self, piece: str) -> None:
        self._pieces.append(piece)
        self.told.append(("text", self._position + 1, self._first, piece))

    def _give_up(self) -> None:
        if self._pieces:
            self.told.append(("given up", self._position + 1, self._first))
        self._first, self._pieces = 0, []

    def _end(self, entry: Entry) -> None:
        reply = entry.event
        if isinstance(reply, ModelReplied) and reply.first_delta:
            self._say_the_rest(reply)
        else:
            self._give_up()
            self._say_all(reply)
        self.told.append((type(reply).__name__, entry.position))
        self._position, self._number, self._first, self._pieces = entry.position, 0, 0, []

    def _say_all(self, event: Event) -> None:
        if isinstance(event, ModelReplied) and (text := only_text(event.items)):
            self._say(text)

    def _say_the_rest(self, reply: ModelReplied) -> None:
        text = only_text(reply.items)
        assert text is not None
        assert self._first in (0, reply.first_delta)
        self._first = reply.first_delta
        for length in (*reply.cuts[len(self._pieces) :], len(text)):
            start = sum(map(len, self._pieces))
            if piece := text[start : start + length]:
                self._say(piece)
        assert "".join(self._pieces) == text
        assert tuple(map(len, self._pieces[: len(reply.cuts)])) == reply.cuts


async def told(stage: Stage, run: RunId) -> list[Told]:
    """What somebody is told who reads the run when all is over."""
    reader = Reader(stage.process().store, run.thread)
    await reader.look()
    return reader.told
