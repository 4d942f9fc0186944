"""The jobs of a crash test, as its processes do them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never, cast

from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core import (
    OVER,
    IdempotentRequest,
    Listener,
    Model,
    ModelReply,
    ModelRequest,
    NullListener,
    Principal,
    RunId,
    Store,
    Workflow,
)
from twelvefold.engine import Services
from twelvefold.engine.commands import RunRequest, answer, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.lease import LeaseRenewer
from twelvefold.errors import Conflict, StaleRun, TooLate
from twelvefold.services.model import open_model, scripted
from twelvefold.testing.clock import FrozenClock
from twelvefold.testing.crash.jobs import CreateDatabase, Drive, DropDatabase, Ending, Job, Scenario
from twelvefold.testing.crash.places import CrashingModel, CrashingStore, Places
from twelvefold.testing.crash.rows import read_rows
from twelvefold.testing.database import create_database, drop_database, fill_database
from twelvefold.testing.model import Reply, as_items

KEY = "crash-test"
"""The idempotency key of the run: a process that finds it continues it."""
MAX_TURNS = 200
"""How often the runs are looked at before the test gives up."""


async def perform(
    job: Job, scenario: Scenario, workflows: Sequence[Workflow], report: Callable[[str], None]
) -> Any:
    """Do a job and return its result."""
    match job:
        case CreateDatabase():
            return await _create(job, scenario, workflows)
        case DropDatabase():
            return await drop_database(job.server, job.url)
        case Drive():
            return await _drive(job, scenario, workflows, Places(report, job.kill_at))
        case _:
            assert_never(job)


async def _create(job: CreateDatabase, scenario: Scenario, workflows: Sequence[Workflow]) -> str:
    url = f"sqlite:///{job.path}" if job.path else await create_database(job.server)
    await fill_database(url, workflows, seed=scenario.seed)
    if scenario.setup:
        async with open_services(_settings(scenario, url), with_model=False) as services:
            await services.store.run_script(scenario.setup)
    return url


def _settings(scenario: Scenario, url: str) -> Settings:
    return replace(Settings(workflows=(), **scenario.settings), database_url=url)


async def _drive(
    job: Drive, scenario: Scenario, workflows: Sequence[Workflow], places: Places
) -> Ending:
    async with _opened(job, scenario, workflows, places) as services:
        run = await _run_of(services, scenario, workflows[0])
        await _drive_all(services, run, scenario)
        record = await services.store.run(run)
        return Ending(record.status, record.error, await read_rows(services.store))


@asynccontextmanager
async def _opened(
    job: Drive, scenario: Scenario, workflows: Sequence[Workflow], places: Places
) -> AsyncIterator[Services]:
    """Open the services of a process, which reach the places."""
    clock = FrozenClock()
    clock.advance(timedelta(seconds=job.later_s))
    async with open_services(_settings(scenario, job.url), with_model=False) as opened:
        clock.attach(opened.store)
        model = _model(scenario)
        yield replace(
            opened,
            store=cast("Store", CrashingStore(opened.store, places)),
            model=CrashingModel(model, places),
            workflows={one.name: one for one in workflows},
            renewer=LeaseRenewer(),
        )
        await model.close()


def _model(scenario: Scenario) -> Model:
    if scenario.replies is None:
        return open_model(base_url="", api_key="", model="")
    return ReplayedScript(scenario.replies)


class ReplayedScript:
    """Gives the first reply that the conversation does not have yet, in any process."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = [as_items(reply) for reply in replies]
        self._model = scripted.ScriptedModel(self._next)

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        return await self._model.reply(request, listener)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _next(self, request: ModelRequest) -> scripted.Scripted:
        given = sum(_is_of_the_model(item) for item in request.items)
        for reply in self._replies:
            if given <= 0:
                return reply
            given -= len(reply)
        return scripted.exhausted(len(self._replies))


def _is_of_the_model(item: dict[str, Any]) -> bool:
    return item.get("role") == "assistant" or item.get("type") == "function_call"


async def _run_of(services: Services, scenario: Scenario, workflow: Workflow) -> RunId:
    """Return the run of the scenario; start it and drive it if there is none."""
    if found := await services.store.find_request(scenario.principal, KEY):
        return found[0]
    message = {"type": "message", "role": "user", "content": scenario.input}
    request = RunRequest(
        workflow.name, Principal(scenario.principal), [message], key=IdempotentRequest(KEY, "")
    )
    held = await start_run(services, request)
    await drive(services, held, NullListener())
    return held.run


async def _drive_all(services: Services, run: RunId, scenario: Scenario) -> None:
    """Drive all runs as a worker does, and answer what they wait for, until none moves."""
    for _ in range(MAX_TURNS):
        moved = False
        for record in await services.store.runs(limit=100):
            if record.status == "waiting":
                moved |= await _answer(services, record.run)
            elif record.status not in OVER:
                moved |= await _continue(services, record.run)
        if not moved:
            return


async def _continue(services: Services, run: RunId) -> bool:
    try:
        await drive(services, await take(services, run), NullListener())
    except (Conflict, StaleRun):
        return False
    return True


async def _answer(services: Services, run: RunId) -> bool:
    """Approve what a run waits for; return whether it waited for an approval."""
    try:
        await answer(services, run, approved=True, by="crash test")
    except TooLate:
        return False
    return True
