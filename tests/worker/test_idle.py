"""How many statements idle processes send, by the database server's own count."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import asyncmy
import pytest

from tests.servers import PrivateMariaDB
from tests.services.store.builders import made
from tests.worker.running import working
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core.ports import Store, WaitingWork
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.web.process import open_web
from twelvefold.worker.loop import Worker

POLL_S = 0.05
LENGTH_S = 2.0
"""How long a process that polls would have to be silent."""

pytestmark = pytest.mark.mysql


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that no other process uses."""
    with PrivateMariaDB(tmp_path_factory.mktemp("server")) as server:
        asyncio.run(made(server.url))
        yield server.url


class Server:
    """The server's count of statements, read on a separate connection."""

    def __init__(self, connection: asyncmy.Connection) -> None:
        self._connection = connection

    async def statements(self) -> int:
        async with self._connection.cursor() as cursor:
            await cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            ((_, count),) = await cursor.fetchall()
        return int(count)

    async def count_during(self, work: Awaitable[object]) -> int:
        """Return how many statements others send while this is awaited."""
        before = await self.statements()
        await work
        return await self.statements() - before - 1


@pytest.fixture
async def server(url: str) -> AsyncIterator[Server]:
    connection = await asyncmy.connect(**connect_arguments(url), autocommit=True)
    yield Server(connection)
    await connection.ensure_closed()


class Polls:
    """The searches of a worker, each of which begins when the test allows it."""

    def __init__(self, store: Store) -> None:
        self._search = store.waiting_work
        self._allowed = asyncio.Semaphore(0)
        self._reached = 0
        self._is_over = False
        store.waiting_work = self  # type: ignore[method-assign]

    async def __call__(self, **options: Any) -> WaitingWork:
        self._reached += 1
        if not self._is_over:
            await self._allowed.acquire()
        return await self._search(**options)

    async def let_one(self) -> None:
        """Let a search happen, and wait for the next one to begin."""
        seen = self._reached
        self._allowed.release()
        while self._reached == seen:
            await asyncio.sleep(0.01)

    def end(self) -> None:
        self._is_over = True
        self._allowed.release()


async def nothing(*_: object) -> int:
    return 0


async def test_an_idle_worker_sends_one_statement_per_poll_for_runs_and_mail_together(
    url: str, server: Server
) -> None:
    async with open_services(Settings(database_url=url)) as services:
        polls = Polls(services.store)
        # A worker also counts usage and charges lost calls, every ten seconds.
        for name in ("count_usage", "charge_lost"):
            setattr(services.store, name, nothing)
        async with working(Worker(services, 8, POLL_S, mailer=MemoryMailer())):
            while await server.count_during(polls.let_one()) != 1:
                pass  # the first statements of the process
            sent = [await server.count_during(polls.let_one()) for _ in range(4)]
            polls.end()

    assert sent == [1] * 4


async def test_an_idle_web_process_sends_none(url: str, server: Server) -> None:
    settings = Settings(database_url=url)
    async with open_services(settings) as services, open_web(services, settings):
        # Its first statements, and the ends of earlier connections, may come late.
        while await server.count_during(asyncio.sleep(LENGTH_S)):
            pass
