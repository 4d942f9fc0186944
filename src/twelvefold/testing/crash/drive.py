"""The jobs of a crash test, as its processes do them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, assert_never, cast

import msgspec

from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core import (
    OVER,
    Call,
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    NullListener,
    Principal,
    RunId,
    RunRecord,
    Store,
    WaitStarted,
    Workflow,
    fold,
)
from twelvefold.core.ports import SignalKey
from twelvefold.engine import Services
from twelvefold.engine.commands import RunRequest, answer, answer_question, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.lease import LeaseRenewer
from twelvefold.errors import Conflict, StaleRun
from twelvefold.services.model import open_model, scripted
from twelvefold.testing.clock import FrozenClock, from_microseconds
from twelvefold.testing.crash.jobs import CreateDatabase, Drive, DropDatabase, Ending, Job, Scenario
from twelvefold.testing.crash.places import CrashingModel, CrashingStore, Places
from twelvefold.testing.crash.rows import read_rows
from twelvefold.testing.database import create_database, drop_database, fill_database
from twelvefold.testing.model import ANY, Reply, as_items, models_for, workflow_of

PERSON = "crash-test"
"""Approves calls and sends events."""
MAX_TURNS = 200
"""How often the runs are read until the test gives up."""
MAX_RUNS = 1_000
Report = Callable[[str, Any], None]
"""Called with a kind and a value: "place" and its name, or "clock" and the time."""


async def perform(
    job: Job, scenario: Scenario, workflows: Sequence[Workflow[Any]], report: Report
) -> Any:
    """Do a job and return its result."""
    match job:
        case CreateDatabase():
            return await _create(job, scenario, workflows)
        case DropDatabase():
            return await drop_database(job.server, job.url)
        case Drive():
            return await _drive(job, scenario, workflows, report)
        case _:
            assert_never(job)


async def _create(
    job: CreateDatabase, scenario: Scenario, workflows: Sequence[Workflow[Any]]
) -> str:
    url = f"sqlite:///{job.path}" if job.path else await create_database(job.server)
    await fill_database(url, workflows, seed=scenario.seed)
    if scenario.setup:
        async with open_services(_settings(scenario, url), with_model=False) as services:
            await services.store.run_script(scenario.setup)
    return url


def _settings(scenario: Scenario, url: str) -> Settings:
    return replace(Settings(workflows=(), **scenario.settings), database_url=url)


async def _drive(
    job: Drive, scenario: Scenario, workflows: Sequence[Workflow[Any]], report: Report
) -> Ending:
    clock = FrozenClock()
    if job.start_us:
        clock.move_to(from_microseconds(job.start_us))
    async with _opened(job, scenario, workflows, clock, Places(report, job.kill_at)) as services:
        driver = Driver(services, scenario, clock, report)
        run = await driver.start(workflows[0])
        await driver.drive_all()
        record = await services.store.run(run)
        return Ending(record.status, record.error, await read_rows(services.store))


@asynccontextmanager
async def _opened(
    job: Drive,
    scenario: Scenario,
    workflows: Sequence[Workflow[Any]],
    clock: FrozenClock,
    places: Places,
) -> AsyncIterator[Services]:
    """Open the services of a process, which reach the places."""
    model = _model(scenario, workflows)
    crashing = CrashingModel(model, places)
    async with open_services(
        _settings(scenario, job.url),
        workflows={one.name: one for one in workflows},
        with_model=False,
        models=models_for(workflows, crashing),
    ) as opened:
        clock.attach(opened.store)
        yield replace(
            opened,
            store=cast("Store", CrashingStore(opened.store, places)),
            model=crashing,
            renewer=LeaseRenewer(),
        )
        await model.close()


def _model(scenario: Scenario, workflows: Sequence[Workflow[Any]]) -> Model:
    if scenario.replies is None:
        return open_model(base_url="", api_key="", model="")
    return ReplayedScript(scenario.replies, workflows)


class ReplayedScript:
    """Gives the first reply that the conversation does not have yet, in any process."""

    def __init__(
        self,
        replies: Sequence[Reply] | Mapping[str, Sequence[Reply]],
        workflows: Sequence[Workflow[Any]],
    ) -> None:
        given = replies if isinstance(replies, Mapping) else {ANY: replies}
        names = [one.name for one in workflows]
        if unknown := [name for name in given if name not in (*names, ANY)]:
            raise ValueError(f"replies are for {unknown[0]!r}; there are {', '.join(names)}")
        self._replies = {name: [as_items(one) for one in these] for name, these in given.items()}
        self._workflows = workflows
        self._model = scripted.ScriptedModel(self._next)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        return await self._model.reply(request, listener)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _next(self, request: ModelRequest) -> scripted.Scripted:
        given = sum(_is_of_the_model(item) for item in request.items)
        named = self._replies.get(workflow_of(request, self._workflows))
        replies = self._replies.get(ANY, []) if named is None else named
        for reply in replies:
            if given <= 0:
                return reply
            given -= len(reply)
        return scripted.exhausted(len(replies))


def _is_of_the_model(item: dict[str, Any]) -> bool:
    return item.get("role") == "assistant" or item.get("type") == "function_call"


class Driver:
    """Starts the run of the scenario, and does with all runs what workers and people do."""

    def __init__(
        self, services: Services, scenario: Scenario, clock: FrozenClock, report: Report
    ) -> None:
        self._services = services
        self._scenario = scenario
        self._clock = clock
        self._report = report
        report("clock", clock.now_us)

    async def start(self, workflow: Workflow[Any]) -> RunId:
        """Return the run of the scenario; start it and drive it if there is none."""
        if found := await self._services.store.runs(limit=MAX_RUNS):
            return found[-1].run  # the oldest: its children follow it
        principal = Principal(self._scenario.principal)
        message = {"type": "message", "role": "user", "content": self._scenario.input}
        request = RunRequest(workflow.name, principal, [message])
        held = await start_run(self._services, request)
        await drive(self._services, held, NullListener())
        return held.run

    async def drive_all(self) -> None:
        """Drive all runs, and answer what they wait for, until none moves."""
        for _ in range(MAX_TURNS):
            records = await self._services.store.runs(limit=MAX_RUNS)
            if not any([await self._move(one) for one in records]):
                return

    async def _move(self, record: RunRecord) -> bool:
        """Do the next thing with a run; return whether there was one."""
        if record.status in OVER:
            return False
        if record.status != "waiting":
            return await self._continue(record.run)
        journal = await self._services.store.load(record.run.thread)
        for call in fold(journal.entries).pending:
            if await self._end_wait(record, call):
                return True
        return False

    async def _continue(self, run: RunId) -> bool:
        try:
            await drive(self._services, await take(self._services, run), NullListener())
        except (Conflict, StaleRun):
            return False
        return True

    async def _end_wait(self, record: RunRecord, call: Call) -> bool:
        """Give what a call waits for; return whether the scenario has it."""
        if call.state == "asked":
            await answer(self._services, record.run, approved=True, by=PERSON, call=call.id)
            return True
        wait = call.wait
        if not isinstance(wait, WaitStarted):
            return False
        if wait.question and call.tool in self._scenario.answers:
            value = self._scenario.answers[call.tool]
            await answer_question(self._services, record.run, value, by=PERSON, call=call.id)
            return True
        if wait.event in self._scenario.answers:
            return await self._signal(record, wait.event)
        if wait.until_us and not wait.event and not wait.question:
            self._clock.move_to(max(self._clock.now, from_microseconds(wait.until_us)))
            self._report("clock", self._clock.now_us)
            return await self._continue(record.run)
        return False

    async def _signal(self, record: RunRecord, event: str) -> bool:
        payload = msgspec.json.encode(self._scenario.answers[event]).decode()
        to = SignalKey(record.workflow, record.principal, event)
        return await self._services.store.signal(to, payload, PERSON)
