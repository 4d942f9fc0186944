"""Every reader of a stream gets the same events, whenever it reads and whatever happens.

Processes die, are overtaken and go on unaware, lose their model's connection, in any sequence.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import HASH, SPENT, assistant, function_call
from tests.engine.reading import Reader, StreamEvent, read_events
from tests.engine.stage import FREQUENT_DELTAS, Crash, Stage, Trouble, resume, staged, start
from twelvefold.core.events import Item, RequestOptions
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Delta, Listener, ModelReply, ModelRequest, Store
from twelvefold.errors import Conflict, StaleRun

LOOKED = function_call("look", "c1", '{"item":"a lamp"}')
ACTS = ("say", "say", "say", "wait", "wait", "look", "anew", "die", "overtaken", "overtaken late")
FIRST_REPLIES = ("text and call", "call", "two texts")


@dataclass
class Story:
    """One run, its processes one after another, and its readers."""

    stage: Stage
    run: RunId
    plans: list[Sequence[str]]
    readers: list[Reader] = field(default_factory=list)
    processes: int = 0
    first_reply: str = "call"

    async def process(self) -> None:
        """Run one more process; the last one has no fault."""
        self.processes += 1
        plan = self.plans.pop(0) if self.plans else ("say", "wait", "say")
        trouble = Trouble()
        model = Unreliable(self, f"({self.processes})", plan, trouble)
        services = self.stage.process(model=model, trouble=trouble)
        model.store = services.store
        await self.stage.let_leases_run_out()
        task = asyncio.ensure_future(resume(services, self.run))
        await asyncio.wait([task])
        assert isinstance(task.exception(), Crash | Conflict | StaleRun | None)

    async def look(self, reader: int) -> None:
        await self.readers[reader].look()

    async def is_over(self) -> bool:
        return (await self.stage.record(self.run)).status in ("completed", "failed")


class Unreliable:
    """A process's model, which replies with another text every time and follows a plan."""

    store: Store

    def __init__(self, story: Story, name: str, plan: Sequence[str], trouble: Trouble) -> None:
        self._story = story
        self._name = name
        self._plan = iter(plan)
        self._trouble = trouble
        self._texts: list[str] = []

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self._texts = []
        for act in self._plan:
            await self._perform(act, listener)
            if len(self._texts) == 4:
                break
        return ModelReply(tuple(self._items(request)), SPENT, "m-1", HASH)

    async def close(self) -> None:
        """Nothing is open."""

    async def _perform(self, act: str, listener: Listener) -> None:
        match act:
            case "say":
                self._texts.append(f"{self._name}{len(self._texts)} ")
                listener.text(self._texts[-1])
            case "wait":
                await asyncio.sleep(0.004)
            case "look":
                await self._story.look(0)
            case "anew":
                self._texts = []
                listener.restarted("the connection broke")
            case "die":
                self._trouble.die()
            case "overtaken":
                await self._story.process()
            case "overtaken late":
                self._overtake_the_next_piece()

    def _overtake_the_next_piece(self) -> None:
        """Let another process run right before this one writes its next delta."""
        add_delta = self.store.add_delta

        async def late(thread: ThreadId, delta: Delta) -> None:
            self.store.add_delta = add_delta  # type: ignore[method-assign]
            await self._story.process()
            await add_delta(thread, delta)

        self.store.add_delta = late  # type: ignore[method-assign]

    def _items(self, request: ModelRequest) -> list[Item]:
        text = assistant("".join(self._texts))
        if any(item.get("type") == "function_call" for item in request.items):
            return [text]
        match self._story.first_reply:
            case "call":
                return [LOOKED]
            case "two texts":
                return [text, text, LOOKED]
            case _:
                return [text, LOOKED]


async def play(
    template: Path, plans: Sequence[Sequence[str]], first_reply: str
) -> list[list[StreamEvent]]:
    """Return the events of each reader; the last one reads only when the run is over."""
    async with staged(template) as stage:
        stage.timings = FREQUENT_DELTAS
        run = (await start(stage.process(), options=RequestOptions(stream=True))).run
        store = stage.process().store
        readers = [Reader(store, run.thread) for _ in range(2)]
        story = Story(stage, run, list(plans), readers, first_reply=first_reply)
        while not await story.is_over():
            await story.process()
            await story.look(1)
        for reader in readers:
            await reader.look()
        return [*(reader.events for reader in readers), await read_events(stage, run)]


plans = st.lists(st.lists(st.sampled_from(ACTS), max_size=8), max_size=5)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plans, st.sampled_from(FIRST_REPLIES))
def test_a_live_reader_gets_the_events_of_a_later_one(
    template: Path, plans: Sequence[Sequence[str]], first_reply: str
) -> None:
    live, now_and_then, later = asyncio.run(play(template, plans, first_reply))

    assert live == later
    assert now_and_then == later
