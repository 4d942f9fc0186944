"""The worker on a real database: which runs it takes, how many, and how it lets go of them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from tests.builders import user
from tests.engine.stage import ANN, LIMITS, RecordingListener, Stage, Trouble, cut_off, start
from twelvefold.core.budget import Limits
from twelvefold.core.events import ModelReplied, RunFinished
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import (
    Listener,
    ModelReply,
    ModelRequest,
    ThreadRecord,
    WaitingRun,
    WaitingWork,
)
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import ModelUnavailable, StoreRefused, StoreUnavailable
from twelvefold.observe.log import start_logging
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says
from twelvefold.worker import backoff as pauses
from twelvefold.worker import loop
from twelvefold.worker.loop import Worker
from twelvefold.worker.quarantine import SUSPECT

ENDED = ("completed", "incomplete", "failed", "cancelled")
POLL_S = 0.05


async def enqueue(services: Services, text: str = "a lamp, please") -> RunId:
    run, _ = await enqueue_run(services, workflow="shop", principal=ANN, items=[user(text)])
    return run


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[asyncio.Event]:
    """Workers at work; they are stopped at the end, and have ended then."""
    stop = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run(stop))
        yield stop
        stop.set()


async def over(stage: Stage, *runs: RunId) -> None:
    """Until the runs are over."""
    for run in runs:
        while (await stage.record(run)).status not in ENDED:
            await asyncio.sleep(0.01)


class Gate:
    """A model that answers nobody before it is opened."""

    def __init__(self) -> None:
        self.asked = 0
        self.most = 0
        self._waiting = 0
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.asked += 1
        self._waiting += 1
        self.most = max(self.most, self._waiting)
        try:
            await asyncio.sleep(0)  # as a network does, open or not
            await self._open.wait()
        finally:
            self._waiting -= 1
        return await ScriptedModel(in_turn(says("There you are."))).reply(request, listener)

    async def asked_by(self, number: int) -> None:
        while self.asked < number:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def log() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    start_logging(stream := StringIO(), format="json")
    yield stream
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


def events_of(log: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_a_queued_run_is_driven_to_its_end(stage: Stage) -> None:
    services = stage.process(calls(("buy", {"item": "a lamp"})), says("There you are."))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)):
        await over(stage, run)

    assert (await stage.record(run)).status == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_run_whose_process_died_is_taken_up_when_its_lease_is_over(stage: Stage) -> None:
    run = (await start(stage.process())).run
    services = stage.process(says("There you are."))

    async with working(Worker(services, 10, POLL_S)):
        await asyncio.sleep(0.2)
        held = await stage.record(run)
        await stage.let_leases_run_out()
        await over(stage, run)

    assert (held.status, held.leased) == ("running", True)
    assert (await stage.record(run)).status == "completed"


async def test_no_more_runs_are_in_flight_than_allowed_and_places_are_filled_again(
    stage: Stage,
) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await enqueue(services) for _ in range(8)]
    worker = Worker(services, 3, POLL_S, max_per_principal=3)

    async with working(worker):
        await gate.asked_by(3)
        await asyncio.sleep(0.1)
        in_flight = worker.in_flight
        gate.open()
        await over(stage, *runs)

    assert (in_flight, gate.most) == (3, 3)


async def test_hundreds_of_runs_wait_for_the_model_at_once(stage: Stage) -> None:
    gate = Gate()
    services = stage.process(model=gate)
    runs = [await enqueue(services) for _ in range(200)]

    async with working(Worker(services, 256, POLL_S)):
        await gate.asked_by(200)
        gate.open()
        await over(stage, *runs)

    assert gate.most == 200


async def test_of_two_workers_each_run_has_one(stage: Stage) -> None:
    first, second = (
        stage.process(calls(("buy", {"item": "a lamp"})), says("There you are.")) for _ in range(2)
    )
    runs = [await enqueue(first) for _ in range(30)]

    async with working(Worker(first, 10, POLL_S), Worker(second, 10, POLL_S)):
        await over(stage, *runs)

    assert await stage.bought() == ["a lamp"] * 30
    for run in runs:
        assert [type(event) for event in await stage.journal(run)].count(RunFinished) == 1


async def test_runs_of_workflows_that_are_not_here_are_left_to_others(stage: Stage) -> None:
    run = await enqueue(stage.process())
    elsewhere = stage.process(says("hm"), workflow=Workflow("elsewhere", "Do.", ()))

    async with working(Worker(elsewhere, 10, POLL_S)):
        await asyncio.sleep(0.2)

    assert (await stage.record(run)).status == "queued"


async def test_a_run_that_waits_for_a_person_is_not_taken_up_again(stage: Stage) -> None:
    services = stage.process(calls(("refund", {"item": "a lamp"})))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)):
        while (await stage.record(run)).status != "waiting":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)

    assert len(stage.requests) == 1


async def test_a_run_that_a_service_has_failed_is_tried_again_later_and_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    monkeypatch.setattr(pauses, "FIRST_S", 0.05)
    away = [ModelUnavailable("the model is away")] * 3
    services = stage.process(model=ScriptedModel(in_turn(*away, says("There you are."))))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)):
        await over(stage, run)

    assert (await stage.record(run)).status == "completed"
    told = [one["pause_s"] for one in events_of(log) if one["event"] == "run_left_alone"]
    assert len(told) == 3
    assert told[2] > told[0]


async def test_other_runs_go_on_while_one_is_left_alone(stage: Stage) -> None:
    def script(request: ModelRequest) -> Any:
        said = str(request.items[-1])
        return ModelUnavailable("away") if "cursed" in said else says("There you are.")

    services = stage.process(model=ScriptedModel(script))
    cursed = await enqueue(services, "a cursed lamp")
    async with working(Worker(services, 1, POLL_S)):
        while not stage.requests:
            await asyncio.sleep(0.01)
        runs = [await enqueue(services) for _ in range(5)]
        await over(stage, *runs)

    assert (await stage.record(cursed)).status == "queued"


async def test_more_failing_runs_than_can_be_remembered_are_tried_slowly(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "REMEMBERED", 20)
    gate, few, paces = asyncio.Event(), [], []
    services = stage.process(model=ScriptedModel(lambda _: ModelUnavailable("away")))
    for _ in range(60):
        await enqueue(services)
    worker = Worker(services, 64, POLL_S)
    candidates, found = worker._candidates, worker._rhythm.found

    async def looked(number: int) -> Sequence[WaitingRun]:
        few.append(number)
        return await candidates(number)

    async def waited(something: bool) -> None:
        paces.append(something)
        if len(few) == 12:
            gate.set()
        # Until what was taken up has failed: then it is known how many have.
        while worker.in_flight:
            await asyncio.sleep(0)
        await found(something)

    monkeypatch.setattr(worker, "_candidates", looked)
    monkeypatch.setattr(worker._rhythm, "found", waited)
    async with working(worker):
        await gate.wait()

    assert few[:2] == [loop.FEW] * 2
    assert set(few[2:]) == {loop.TRICKLE}
    assert paces[0]
    assert not any(paces[2:])
    assert len(stage.requests) <= sum(few)


async def test_a_worker_hurries_again_once_runs_that_failed_come_to_something(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "REMEMBERED", 4)
    monkeypatch.setattr(pauses, "FIRST_S", 0.05)
    away = [ModelUnavailable("away")] * 12
    services = stage.process(model=ScriptedModel(in_turn(*away, *[says("There.")] * 12)))
    runs = [await enqueue(services) for _ in range(12)]

    async with working(worker := Worker(services, 64, POLL_S)):
        await over(stage, *runs)

    assert not worker._pauses.are_full


@pytest.mark.parametrize(
    "error", [StoreRefused("an entry of a later release"), RuntimeError("a bug")]
)
async def test_a_run_that_cannot_be_read_is_no_reason_to_hurry(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, log: StringIO
) -> None:
    services = stage.process(says("There you are."))
    run = await enqueue(services)
    loads = 0

    async def load(thread: ThreadId) -> ThreadRecord:
        nonlocal loads
        loads += 1
        raise error

    monkeypatch.setattr(services.store, "load", load)
    async with working(Worker(services, 10, 0.01)):
        await asyncio.sleep(0.4)

    record = await stage.record(run)
    assert loads == 1
    assert (record.status, record.leased) == ("queued", False)
    assert [one["level"] for one in events_of(log) if "pause_s" in one] == [
        "warning" if isinstance(error, StoreRefused) else "error"
    ]


async def test_a_database_that_is_away_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("There you are."))
    run = await enqueue(services)
    usual, looks = services.store.waiting_work, 0

    async def waiting_work(**limits: Any) -> WaitingWork:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise StoreUnavailable("the database cannot be reached")
        return await usual(**limits)

    monkeypatch.setattr(services.store, "waiting_work", waiting_work)
    async with working(Worker(services, 10, 0.01)):
        await over(stage, run)

    assert looks >= 4


async def test_a_listener_that_breaks_costs_its_run_a_pause_and_the_others_nothing(
    stage: Stage, log: StringIO
) -> None:
    class Broken(RecordingListener):
        def recorded(self, entry: Any) -> None:
            raise RuntimeError("a bug")

    services = stage.process(says("There you are."))
    runs = [await enqueue(services) for _ in range(2)]

    def listen(run: RunId) -> Listener:
        return Broken() if run == runs[0] else RecordingListener()

    async with working(Worker(services, 10, POLL_S, listen=listen)):
        await over(stage, runs[1])
        await asyncio.sleep(0.1)

    assert [one["run"] for one in events_of(log) if one["event"] == "drive_failed"] == [
        str(runs[0])
    ]


async def test_a_listener_hears_the_run_that_it_was_made_for(stage: Stage) -> None:
    heard: dict[RunId, RecordingListener] = {}

    def listen(run: RunId) -> Listener:
        return heard.setdefault(run, RecordingListener())

    services = stage.process(says("There you are."))
    run = await enqueue(services)
    async with working(Worker(services, 10, POLL_S, listen=listen)):
        await over(stage, run)

    assert heard[run].said == ["There you are."]
    assert [type(entry.event) for entry in heard[run].entries] == [ModelReplied, RunFinished]


async def test_a_worker_that_is_woken_looks_at_once(stage: Stage) -> None:
    services = stage.process(says("There you are."))
    worker = Worker(services, 10, 60.0)

    async with working(worker):
        await asyncio.sleep(0.5)
        run = await enqueue(services)
        worker.wake()
        async with asyncio.timeout(2):
            await over(stage, run)


async def test_stopped_it_finishes_the_step_in_hand_and_gives_the_run_back(stage: Stage) -> None:
    gate = Gate()
    buying = ScriptedModel(in_turn(calls(("buy", {"item": "a lamp"})), says("never asked")))

    class Buying(Gate):
        async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
            await super().reply(request, listener)
            return await buying.reply(request, listener)

    services = stage.process(model=(gate := Buying()))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)) as stop:
        await gate.asked_by(1)
        stop.set()
        await asyncio.sleep(0.05)
        gate.open()

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)
    assert await stage.bought() == ["a lamp"]
    assert len(buying.requests) == 1


async def test_stopped_it_lets_a_run_end_that_is_at_its_last_step(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    run = await enqueue(services)

    async with working(Worker(services, 10, POLL_S)) as stop:
        await gate.asked_by(1)
        stop.set()
        await asyncio.sleep(0.05)
        gate.open()

    assert (await stage.record(run)).status == "completed"


async def test_a_step_that_outlasts_the_grace_is_abandoned(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    runs = [await enqueue(services) for _ in range(20)]

    async with working(Worker(services, 256, POLL_S, grace_s=0.1)):
        await gate.asked_by(20)

    records = [await stage.record(run) for run in runs]
    assert {(one.status, one.leased) for one in records} == {("queued", False)}


async def test_what_is_claimed_while_it_stops_is_given_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("There you are."))
    runs = [await enqueue(services) for _ in range(10)]
    usual, claiming = services.store.claim, asyncio.Event()

    async def claim(run: RunId, *how: Any) -> Any:
        claiming.set()
        await asyncio.sleep(0.1)
        return await usual(run, *how)

    monkeypatch.setattr(services.store, "claim", claim)
    async with working(Worker(services, 256, POLL_S, grace_s=0)):
        await claiming.wait()

    records = [await stage.record(run) for run in runs]
    assert {one.leased for one in records} == {False}


async def test_stopped_with_nothing_to_do_it_ends_at_once(stage: Stage) -> None:
    async with asyncio.timeout(2), working(Worker(stage.process(), 10, 60.0)):
        await asyncio.sleep(0.3)


async def test_cancelled_it_gives_its_runs_back(stage: Stage) -> None:
    services = stage.process(model=(gate := Gate()))
    run = await enqueue(services)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(Worker(services, 10, POLL_S).run(asyncio.Event()))
        await gate.asked_by(1)
        task.cancel()

    record = await stage.record(run)
    assert (record.status, record.leased) == ("queued", False)


async def test_a_run_that_another_process_takes_over_is_let_go_of(
    stage: Stage, log: StringIO
) -> None:
    limits = Limits(deadline_s=LIMITS.deadline_s, lease_s=1.0)
    services = stage.process(model=(gate := Gate()), limits=limits)
    run = await enqueue(services)

    async with working(Worker(services, 1, 60.0)):
        await gate.asked_by(1)
        await stage.let_leases_run_out()
        rival = stage.process(says("I was quicker."))
        async with working(Worker(rival, 10, POLL_S)):
            await over(stage, run)
        gate.open()

    assert [one for one in events_of(log) if one["event"] == "run_rested"]
    assert [type(event) for event in await stage.journal(run)].count(RunFinished) == 1


async def test_it_sends_mail_beside_the_runs(stage: Stage) -> None:
    services = stage.process(says("There you are."), trouble=Trouble(cut_off))
    run = await enqueue(services)
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")

    mailer = MemoryMailer()
    async with working(Worker(services, 10, POLL_S, mailer=mailer)):
        await over(stage, run)
        while not mailer.sent:
            await asyncio.sleep(0.01)

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]


async def test_without_a_mailer_letters_stay(stage: Stage) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.send_mail("ann@example.org", "Hi", "There")

    async with working(Worker(services, 10, POLL_S)):
        await asyncio.sleep(0.2)

    (letter,) = await services.store.letters(limit=10)
    assert (letter.attempts, letter.sent_at_us) == (0, None)


async def test_what_was_cancelled_half_way_or_deleted_is_ended(stage: Stage) -> None:
    services = stage.process(calls(("refund", '{"item":"a lamp"}')))
    waits = await enqueue(services)
    async with working(Worker(services, 10, POLL_S)):
        while (await stage.record(waits)).status != "waiting":
            await asyncio.sleep(0.01)
    deleted = await enqueue(services)
    await services.store.ask_cancel(waits)
    await services.store.delete_thread(deleted.thread)

    async with working(Worker(stage.process(), 10, POLL_S)):
        await over(stage, waits)
        while not isinstance((await stage.journal(deleted))[-1], RunFinished):
            await asyncio.sleep(0.01)

    assert (await stage.record(waits)).status == "cancelled"
    assert (await stage.journal(deleted))[-1] == RunFinished("cancelled", "cancelled")


async def taken_up_and_died(services: Services, run: RunId, times: int) -> None:
    for _ in range(times):
        assert await services.store.claim(run, 0)


async def test_runs_on_their_last_try_are_taken_up_one_at_a_time_and_keep_no_other_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "FEW", 2)
    gate = Gate()
    services = stage.process(model=gate, limits=replace(LIMITS, max_attempts=3))
    suspects = [await enqueue(services) for _ in range(3 * loop.CHOICE)]
    for run in suspects:
        await taken_up_and_died(services, run, SUSPECT)
    others = [await enqueue(services) for _ in range(3)]

    async with working(Worker(services, 10, POLL_S)):
        await gate.asked_by(len(others) + 1)
        await asyncio.sleep(3 * POLL_S)
        most_at_once = gate.most
        gate.open()
        await over(stage, *suspects, *others)

    assert most_at_once == len(others) + 1


async def test_a_run_that_has_outlived_too_many_processes_fails(stage: Stage) -> None:
    services = stage.process(says("Nobody asks."), limits=replace(LIMITS, max_attempts=3))
    run = await enqueue(services)
    await taken_up_and_died(services, run, 3)

    async with working(Worker(services, 10, POLL_S)):
        await over(stage, run)

    record = await stage.record(run)
    assert (record.status, record.error) == (
        "failed",
        "3 attempts at this step ended without a result",
    )


async def test_everything_is_prepared_before_the_first_claim(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Client(ScriptedModel):
        def prepare(self) -> None:
            told.append("prepared")

    services = stage.process(says("unused"))
    services = replace(services, model=Client(in_turn(says("There you are."))))
    run = await enqueue(services)
    claim = services.store.claim

    async def claimed(*how: Any) -> Any:
        told.append("claimed")
        return await claim(*how)

    monkeypatch.setattr(services.store, "claim", claimed)
    async with working(Worker(services, 10, POLL_S)):
        await over(stage, run)

    assert told == ["prepared", "claimed"]
