"""Starts and stops the services and processes of a scene."""

import asyncio
import random
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.acceptance.chaos import workflow as chaos
from tests.acceptance.chaos.admin import Admin
from tests.acceptance.chaos.arena import ACCOUNT, DATABASE, Arena, with_database
from tests.acceptance.chaos.counter import Counter
from tests.acceptance.chaos.model import model_server
from tests.acceptance.chaos.proxy import Proxy
from tests.acceptance.chaos.shared import Cluster
from tests.acceptance.chaos.terms import LEASE_S, Terms
from tests.acceptance.webs import webs
from tests.servers import PrivateMariaDB
from tests.servers.home import home
from tests.smtp_sink import Sink
from twelvefold.services.broker import open_wake_ups
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

WORKERS = 2
READY_S = 60.0
"""How long the workers may take to start."""


@asynccontextmanager
async def arena(terms: Terms, chance: random.Random, keep: Path | None) -> AsyncIterator[Arena]:
    """Start everything on a private server; stop it after the body and copy the logs to `keep`."""
    async with AsyncExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="run-chaos-", dir=home()))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        if keep:
            stack.callback(shutil.copytree, directory, keep, ignore=_sockets, dirs_exist_ok=True)
        if terms.disk:
            stack.enter_context(terms.disk)
        server = terms.cluster or PrivateMariaDB(data, options=terms.server_options)
        stack.callback(_copy_log, data / "log", directory / "mariadb.log")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        password = secrets.token_hex(8)
        url = await _database(server, terms, data, password)
        session = terms.cluster.session if terms.cluster else ""
        admin, asking = Admin(url, session), Admin(url, session)
        stack.push_async_callback(admin.close)
        stack.push_async_callback(asking.close)
        counter = Counter(asking, directory, LEASE_S)
        sink = await stack.enter_async_context(Sink().serving())
        await stack.enter_async_context(counter.listening())
        model = await stack.enter_async_context(model_server(chance, terms.load.pace_s))
        made = Arena(terms, chance, directory, server, admin, counter, sink, model, password)
        stack.push_async_callback(made.close)
        if terms.broker:
            stack.push_async_callback(asyncio.to_thread, terms.broker.stop)
            await asyncio.to_thread(terms.broker.start)
            made.wake_ups = broker = open_wake_ups(
                broker_url=terms.broker.urls[0], database=DATABASE
            )
            stack.push_async_callback(broker.close)
        await _start_processes(made, stack)
        yield made


def _copy_log(log: Path, to: Path) -> None:
    if log.exists():
        shutil.copyfile(log, to)


def _sockets(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock")]


async def _database(
    server: PrivateMariaDB | Cluster, terms: Terms, data: Path, password: str
) -> str:
    """Make the database, the account and the tables; returns the administrator's URL."""
    # Alone in a group of servers the primary takes it, which is not always the first of them.
    admin = Admin(terms.cluster.urls[0] if terms.cluster else server.url)
    for statement in (
        *terms.server_settings,
        f"drop database if exists {DATABASE}",
        f"drop user if exists {ACCOUNT}@'%'",
        f"create database {DATABASE} character set utf8mb4",
        f"create user {ACCOUNT}@'%' identified by '{password}'",
        f"grant all on {DATABASE}.* to {ACCOUNT}@'%'",
    ):
        await admin.rows(statement)
    await admin.close()
    if terms.disk:
        terms.disk.move(data / "data" / DATABASE)
    url = with_database(server.url)
    await migrate(url)
    store = await open_store(url)
    try:
        await store.run_script(chaos.SCHEMA)
    finally:
        await store.close()
    return url


async def _start_processes(made: Arena, stack: AsyncExitStack) -> None:
    environment = {"WEB_DRIVES": "foreground"} | made.environment(made.app_url())
    (made.web,) = await stack.enter_async_context(webs(1, environment, made.directory))
    for _ in range(WORKERS):
        if made.terms.through_proxies:
            proxy = Proxy(made.mariadb.port, random.Random(made.chance.random()))
            made.proxies.append(await stack.enter_async_context(proxy.listening()))
    for _ in range(WORKERS):
        await made.add_worker()
    async with asyncio.timeout(READY_S):
        while not all('"worker_started"' in one.log.read_text() for one in made.workers):
            await asyncio.sleep(0.1)
