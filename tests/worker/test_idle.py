"""How many statements idle processes send, by the database server's own count."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import asyncmy
import pytest

from tests.servers import PrivateMariaDB
from tests.services.store.builders import made
from tests.worker.running import working
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.web.process import open_web
from twelvefold.worker.loop import Worker

POLL_S = 0.25
LENGTH_S = 2.0

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

    async def count_during(self, length_s: float) -> tuple[int, float]:
        """Return how many statements others have sent in this time, and how long it was."""
        before, began_at = await self.statements(), time.monotonic()
        await asyncio.sleep(length_s)
        took_s = time.monotonic() - began_at
        return await self.statements() - before - 1, took_s


@pytest.fixture
async def server(url: str) -> AsyncIterator[Server]:
    connection = await asyncmy.connect(**connect_arguments(url), autocommit=True)
    yield Server(connection)
    await connection.ensure_closed()


async def test_an_idle_worker_sends_one_statement_per_poll_for_runs_and_mail_together(
    url: str, server: Server
) -> None:
    async with (
        open_services(Settings(database_url=url)) as services,
        working(Worker(services, 8, POLL_S, mailer=MemoryMailer())),
    ):
        await asyncio.sleep(6 * POLL_S)  # until the pauses have their full length
        sent, took_s = await server.count_during(LENGTH_S)

    assert 1 <= sent <= took_s / POLL_S + 1


async def test_an_idle_web_process_sends_none(url: str, server: Server) -> None:
    settings = Settings(database_url=url)
    async with open_services(settings) as services, open_web(services, settings):
        sent, _ = await server.count_during(LENGTH_S)

    assert sent == 0
