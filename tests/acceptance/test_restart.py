"""The database goes away under runs that are under way, and comes back."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.academy import Place, judge
from tests.acceptance.crash import Arena, arena
from tests.acceptance.crash_model import Client, journal_of
from tests.servers import PrivateMariaDB
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry
from twelvefold.core.ports import NullListener, Principal
from twelvefold.engine.commands import RunRequest, start_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, StoreUnavailable
from twelvefold.services.model import open_model
from twelvefold.workflows.enrolment.workflow import workflow

PLACES = [Place(number) for number in range(1, 21)]
WHOLE_RUN = journal_of("in_turn")
pytestmark = pytest.mark.timeout(900)
PACE_MS = 150
LEASE_S = 10.0
PAUSE_S = 0.1


class Counted(NullListener):
    """Counts the entries of all runs, and says when so many are there."""

    def __init__(self, wanted: int) -> None:
        self.reached = asyncio.Event()
        self._left = wanted

    def recorded(self, entry: Entry) -> None:
        self._left -= 1
        if self._left <= 0:
            self.reached.set()


@pytest.fixture
def server(tmp_path: Path) -> PrivateMariaDB:
    return PrivateMariaDB(tmp_path / "server")


async def test_twenty_runs_outlive_a_restart_and_a_crash_of_their_database(
    server: PrivateMariaDB,
) -> None:
    with server:
        async with arena(server.url, PLACES) as stage:
            async with asyncio.TaskGroup() as tasks:
                third, half = Counted(3 * len(PLACES)), Counted(5 * len(PLACES))
                tasks.create_task(_when(third, lambda: _restarted(server, server.stop)))
                tasks.create_task(_when(half, lambda: _restarted(server, server.kill)))
                for run in [await _started(stage, place) for place in PLACES]:
                    tasks.create_task(_driven_to_the_end(*run, third, half))
            verdicts = [await judge(stage.store, place, WHOLE_RUN) for place in PLACES]

    assert [reason for one in verdicts for reason in one.why] == []


async def _when(counted: Counted, do: Callable[[], None]) -> None:
    await counted.reached.wait()
    await asyncio.to_thread(do)


def _restarted(server: PrivateMariaDB, end: Callable[[], None]) -> None:
    end()
    server.start()


async def _started(stage: Arena, place: Place) -> tuple[Services, HeldRun]:
    """Start a run while the database is there: a start whose answer is lost cannot be repeated."""
    model = open_model(
        base_url=stage.model.base_url(Client(place.student, pace_ms=PACE_MS)),
        api_key="",
        model="mock",
    )
    limits = Limits(lease_s=LEASE_S)
    services = Services(
        stage.store, model, {workflow.name: workflow}, RandomIds(), limits, "restart"
    )
    said = {"type": "message", "role": "user", "content": place.wish}
    driven = await start_run(
        services,
        RunRequest(workflow=workflow.name, principal=Principal(place.student), items=[said]),
    )
    return services, driven


async def _driven_to_the_end(services: Services, driven: HeldRun, *counted: Counted) -> None:
    """Drive a run; one that came to rest without the database is taken up again.

    That fails while the database is away, and until the lease of a run that could not be given
    back is over.
    """
    outcome = await drive(services, driven, _Both(counted))
    while outcome.status == "queued":
        with suppress(StoreUnavailable, Conflict):
            outcome = await drive(services, await take(services, outcome.run), _Both(counted))
        await asyncio.sleep(PAUSE_S)
    await services.model.close()


class _Both(NullListener):
    def __init__(self, counted: tuple[Counted, ...]) -> None:
        self._counted = counted

    def recorded(self, entry: Entry) -> None:
        for one in self._counted:
            one.recorded(entry)
