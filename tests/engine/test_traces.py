"""What the engine tells the traces of a process about the runs that it holds."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage, drive_new, resume, start
from twelvefold.core.events import Entry, RunStarted
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import NullListener
from twelvefold.core.thread import Thread
from twelvefold.core.tools.tool import tool
from twelvefold.core.trace_ids import SpanContext
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, cancel, enqueue_run, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.observe.trace_context import TRACEPARENT, current_traceparent
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
seen: list[str] = []


@dataclass
class FakeHeld:
    traces: "FakeTraces"
    recorded: list[str] = field(default_factory=list)
    is_sampled: bool = True
    is_pending: bool = False

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        token = TRACEPARENT.set(name)
        try:
            yield
        finally:
            TRACEPARENT.reset(token)

    def reply(self, position: int) -> AbstractContextManager[None]:
        return self._span(f"reply {position}")

    def call(self, call: CallId) -> AbstractContextManager[None]:
        return self._span(f"call {call}")

    def record(self, entries: Sequence[Entry]) -> None:
        self.recorded += [type(entry.event).__name__ for entry in entries]

    def rest(self, position: int) -> None:
        self.recorded.append(f"rest {position}")


@dataclass
class FakeTraces:
    """Records what it is told; `current` is the span that requests a run."""

    current: str = ""
    is_sampled: bool = True
    is_pending: bool = False
    held: list[FakeHeld] = field(default_factory=list)
    interrupted: list[bool] = field(default_factory=list)

    def caller(self) -> str:
        return self.current

    def samples(self, run: RunId, started: RunStarted) -> bool:
        return self.is_sampled

    def hold(self, run: RunId, thread: Thread) -> FakeHeld:
        self.interrupted.append(thread.interrupted)
        self.held.append(FakeHeld(self, is_sampled=self.is_sampled, is_pending=self.is_pending))
        return self.held[-1]


def traced(services: Services, traces: FakeTraces) -> Services:
    return replace(services, traces=traces)


async def exports(stage: Stage) -> list[tuple[str, int]]:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.execute("update trace_exports set due_at = 0")
    found = await services.store.claim_trace_exports(limit=10, lease_s=1.0)
    return [(str(one.run), one.position) for one in found]


@tool(effect="pure")
async def note(item: str) -> str:
    """Note an item."""
    seen.append(current_traceparent())
    return item


@tool(effect="pure")
def note_in_thread(item: str) -> str:
    """Note an item, in a thread."""
    seen.append(current_traceparent())
    return item


NOTES = Workflow("shop", "Note.", (note, note_in_thread))


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


async def test_the_entries_of_a_run_are_recorded_as_they_are_committed(stage: Stage) -> None:
    traces = FakeTraces()
    services = traced(stage.process(calls(("buy", LAMP)), says("Bought.")), traces)

    outcome = await drive_new(services)

    (held,) = traces.held
    assert held.recorded == [
        "ModelReplied",
        "ToolSucceeded",
        "ModelReplied",
        "RunFinished",
        "rest 5",
    ]
    assert await exports(stage) == [(str(outcome.run), 5)]


async def test_a_run_that_is_not_sampled_leaves_no_export(stage: Stage) -> None:
    services = traced(stage.process(says("Hi.")), FakeTraces(is_sampled=False))

    await drive_new(services)

    assert await exports(stage) == []


async def test_replies_and_calls_run_in_their_spans(stage: Stage) -> None:
    traces = FakeTraces()
    asks = calls(("note", LAMP), ("note_in_thread", LAMP))
    services = traced(stage.process(asks, says("Noted."), workflow=NOTES), traces)
    model = services.model
    requests: list[str] = []

    class Watched:
        async def reply(self, *given: object) -> object:
            requests.append(current_traceparent())
            return await model.reply(*given)  # type: ignore[arg-type]

    await drive_new(replace(services, model=Watched()))  # type: ignore[arg-type]

    assert requests == ["reply 2", "reply 5"]
    assert sorted(seen) == ["call 2.0", "call 2.1"]
    assert current_traceparent() == ""


async def test_without_traces_there_is_no_span(stage: Stage) -> None:
    services = stage.process(calls(("note", LAMP)), says("Noted."), workflow=NOTES)

    await drive_new(services)

    assert seen == [""]


async def test_the_next_holder_is_told_that_the_run_was_interrupted(stage: Stage) -> None:
    traces = FakeTraces()
    run = (await start(stage.process())).run
    await stage.let_leases_run_out()

    await resume(traced(stage.process(says("Hi.")), traces), run)

    assert traces.interrupted == [True]


async def test_a_command_records_its_entries(stage: Stage) -> None:
    traces = FakeTraces()
    services = traced(stage.process(), traces)
    request = RunRequest(workflow="shop", principal=ANN, items=[user("hi")])
    run, _ = await enqueue_run(services, request)

    await cancel(services, run)

    (held,) = traces.held
    assert held.recorded == ["RunFinished", "rest 2"]


@pytest.mark.usefixtures("frequent_renewals")
async def test_entries_that_a_process_finds_late_are_recorded(stage: Stage) -> None:
    """Another process ends the run while this one is about to give it back."""
    traces = FakeTraces()
    services = traced(stage.process(calls(("wait", LAMP)), workflow=waiting()), traces)
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    await began.wait()

    await cancel(stage.process(), run.run)
    await asyncio.wait([task])

    assert "RunFinished" in traces.held[0].recorded


began = asyncio.Event()


def waiting() -> Workflow:
    global began
    began = asyncio.Event()

    @tool(name="wait", effect="pure")
    async def wait(item: str) -> str:
        """Wait."""
        began.set()
        await asyncio.Event().wait()
        return item

    return Workflow("shop", "Wait.", (wait,))


@pytest.mark.parametrize(("is_pending", "left"), [(True, 1), (False, 0)])
async def test_a_run_that_is_given_back_leaves_the_spans_that_are_not_exported(
    stage: Stage, is_pending: bool, left: int
) -> None:
    traces = FakeTraces(is_pending=is_pending)
    services = traced(stage.process(calls(("wait", LAMP)), workflow=waiting()), traces)
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    await began.wait()

    task.cancel()
    await asyncio.wait([task])

    assert len(await exports(stage)) == left
    assert traces.held[0].recorded == (["rest 1"] if left else [])


# --- processes without traces ---------------------------------------------------------------------


@pytest.mark.parametrize(("is_sampled", "left"), [(True, 1), (False, 0)])
async def test_a_process_without_traces_leaves_the_spans_of_a_run_that_it_ends(
    stage: Stage, is_sampled: bool, left: int
) -> None:
    services = traced(stage.process(), FakeTraces(is_sampled=is_sampled))
    request = RunRequest(workflow="shop", principal=ANN, items=[user("hi")])
    run, _ = await enqueue_run(services, request)

    await cancel(stage.process(), run)

    assert await exports(stage) == [(str(run), 2)] * left


async def test_a_run_without_a_decision_leaves_no_export(stage: Stage) -> None:
    await drive_new(stage.process(says("Hi.")))

    assert await exports(stage) == []


async def give_back(stage: Stage, run: HeldRun) -> None:
    """Let a process without traces hold a run, and give it back in a call."""
    services = stage.process(calls(("note", LAMP)), calls(("wait", LAMP)), workflow=waiting())
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    await asyncio.wait_for(began.wait(), 10)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("is_sampled", [True, False])
async def test_a_process_without_traces_leaves_the_spans_of_a_run_that_it_gives_back(
    stage: Stage, is_sampled: bool
) -> None:
    run = await start(traced(stage.process(), FakeTraces(is_sampled=is_sampled)))

    await give_back(stage, run)

    found = await exports(stage)
    assert [id for id, _ in found] == [str(run.run)] * is_sampled


async def test_a_process_that_committed_nothing_leaves_nothing(stage: Stage) -> None:
    services = traced(stage.process(), FakeTraces())
    request = RunRequest(workflow="shop", principal=ANN, items=[user("hi")])
    run, _ = await enqueue_run(services, request)
    held = await take(stage.process(), run)

    async def no_reply(*_: object) -> object:
        replying.set()
        await asyncio.sleep(60)
        raise AssertionError("it is cancelled before")

    replying = asyncio.Event()
    silent = type("Silent", (), {"reply": no_reply})()
    task = asyncio.ensure_future(
        drive(replace(stage.process(), model=silent), held, NullListener())
    )
    await asyncio.wait_for(replying.wait(), 10)
    task.cancel()
    await asyncio.wait([task])

    assert await exports(stage) == []


async def test_the_decision_is_stored_with_the_run(stage: Stage) -> None:
    decisions = [
        (await first_of(services)).sampled
        for services in (
            stage.process(),
            traced(stage.process(), FakeTraces()),
            traced(stage.process(), FakeTraces(is_sampled=False)),
        )
    ]

    assert decisions == [None, True, False]


async def test_no_decision_is_stored_while_an_older_release_may_read_the_journal(
    stage: Stage,
) -> None:
    services = traced(stage.process(), FakeTraces())
    async with services.store.write() as tx:
        await tx.execute("update twelvefold_releases set serves = '0003'")

    assert (await first_of(services)).sampled is None


# --- the caller's span ----------------------------------------------------------------------------


async def first_of(services: Services, trace: str = "") -> RunStarted:
    request = RunRequest(workflow="shop", principal=ANN, items=[user("hi")], trace=trace)
    held = await start_run(services, request)
    first = held.thread.latest[0].event
    assert isinstance(first, RunStarted)
    return first


@pytest.mark.parametrize(
    ("given", "stored"), [(CALLER, CALLER), (f" {CALLER} ", CALLER), ("nonsense", ""), ("", "")]
)
async def test_the_span_of_the_request_is_stored(stage: Stage, given: str, stored: str) -> None:
    assert (await first_of(stage.process(), given)).trace == stored


async def test_the_current_span_of_the_process_comes_first(stage: Stage) -> None:
    here = str(SpanContext("1" * 32, "2" * 16))

    assert (await first_of(traced(stage.process(), FakeTraces(here)), CALLER)).trace == here
    assert (await first_of(traced(stage.process(), FakeTraces()), CALLER)).trace == CALLER


async def test_no_span_is_stored_while_an_older_release_may_read_the_journal(
    stage: Stage,
) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.execute("update twelvefold_releases set serves = '0003'")

    assert (await first_of(services, CALLER)).trace == ""


async def test_a_gate_takes_what_another_one_of_the_database_knows(stage: Stage) -> None:
    known, other, unknown = (stage.process().gate for _ in range(3))
    known.note(await stage.process().store.schema())

    other.follow(known)
    known.follow(unknown)

    assert (known.was_open, other.was_open, unknown.was_open) == (True, True, False)
