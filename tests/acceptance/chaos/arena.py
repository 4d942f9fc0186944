"""What one scene stands on: a MariaDB, two workers, a web process, a model, mail and a counter."""

import asyncio
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.acceptance.chaos import workflow as chaos
from tests.acceptance.chaos.admin import Admin
from tests.acceptance.chaos.counter import Counter
from tests.acceptance.chaos.disk import SmallDisk
from tests.acceptance.chaos.model import model_server
from tests.acceptance.chaos.plan import Variant, message
from tests.acceptance.chaos.proxy import Proxy
from tests.acceptance.crash import ENTRY_POINT, ROOT
from tests.acceptance.webs import Web, webs
from tests.acceptance.workers import Worker
from tests.servers import PrivateMariaDB
from tests.servers.home import home
from tests.smtp_sink import Sink
from twelvefold.boot import RandomIds
from twelvefold.core.budget import Limits
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, ServiceFault
from twelvefold.services.model.scripted import ScriptedModel, in_turn
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

LEASE_S = 3.0
WORKERS = 2
DATABASE = "chaos"
ACCOUNT = "chaos_app"
"""The account of the workers and of web; the faults of accounts and connections are aimed at it."""
LOCAL = "local"
"""The principal of requests without a key, which approve the calls."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a scene asks of its arena."""

    server_options: tuple[str, ...] = ()
    server_settings: tuple[str, ...] = ()
    notes: int = 0
    block_s: float = 0.0
    through_proxies: bool = False
    variant_of: Callable[[int], Variant] = lambda number: "plain"
    disk: SmallDisk | None = None


@dataclass
class Arena:
    """`runs` has every run that was written, with its variant; `notes` goes below the table."""

    terms: Terms
    chance: random.Random
    directory: Path
    server: PrivateMariaDB
    admin: Admin
    counter: Counter
    sink: Sink
    model_url: str
    app_password: str
    workers: list[Worker] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    runs: dict[str, Variant] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    web: Web | None = None

    async def close(self) -> None:
        for worker in self.workers:
            if worker.process.returncode is None:
                await worker.end(signal.SIGKILL)

    @property
    def admin_url(self) -> str:
        return urlsplit(self.server.url)._replace(path=f"/{DATABASE}").geturl()

    def app_url(self, port: int | None = None) -> str:
        return (
            f"mysql://{ACCOUNT}:{self.app_password}@127.0.0.1:{port or self.server.port}/{DATABASE}"
        )

    def environment(self, database_url: str) -> dict[str, str]:
        """The settings of a process that takes part."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "6",
            "OPENAI_BASE_URL": self.model_url,
            "OPENAI_MODEL": "mock",
            "WORKFLOWS": "tests.acceptance.chaos.workflow:workflow",
            "LEASE_S": f"{LEASE_S:g}",
            "GRACE_S": "5",
            "MAX_RUNS": "24",
            "SMTP_URL": self.sink.url(),
            "MAIL_FROM": "Cases <cases@chaos.example>",
            "CHAOS_SOCKET": str(self.counter.socket),
            "CHAOS_LEASES": str(self.counter.notes),
            "CHAOS_NOTES": str(self.terms.notes),
            "CHAOS_BLOCK_S": f"{self.terms.block_s:g}",
        }

    async def start_worker(self, name: str, port: int | None = None) -> None:
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, "worker"),
                env=self.environment(self.app_url(port)),
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        self.workers.append(Worker(name, process, log))

    async def enqueue(self, count: int, over_s: float) -> None:
        """Write so many runs, spread over that time. Waits where the database takes none."""
        store = await open_store(self.admin_url, pool_size=1)
        try:
            for number in range(count):
                thread = RandomIds().thread()
                variant = self.terms.variant_of(number)
                self.runs[thread] = variant
                services = Services(
                    store,
                    ScriptedModel(in_turn()),
                    {chaos.workflow.name: chaos.workflow},
                    _GivenId(thread),
                    Limits(),
                    "chaos",
                )
                await _enqueued(services, message(thread, variant))
                await asyncio.sleep(over_s / count * self.chance.uniform(0.2, 1.8))
        finally:
            await store.close()

    def log_lines(self) -> str:
        """Everything that the processes wrote."""
        return "\n".join(one.read_text(errors="replace") for one in self.directory.glob("w*.log"))


@dataclass(frozen=True, slots=True)
class _GivenId(RandomIds):
    id: ThreadId

    def thread(self) -> ThreadId:
        return self.id


async def _enqueued(services: Services, text: str) -> None:
    said = {"type": "message", "role": "user", "content": text}
    while True:
        try:
            await enqueue_run(
                services, RunRequest(workflow="chaos", principal=Principal(LOCAL), items=[said])
            )
        except Conflict:
            return  # an earlier try, whose answer was lost, has written it
        except ServiceFault:
            await asyncio.sleep(0.2)
        else:
            return


@asynccontextmanager
async def arena(terms: Terms, chance: random.Random, keep: Path | None) -> AsyncIterator[Arena]:
    """All of it, on a server of its own; ended with the body, whose logs `keep` gets."""
    async with AsyncExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="run-chaos-", dir=home()))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        if keep:
            stack.callback(shutil.copytree, directory, keep, ignore=_sockets, dirs_exist_ok=True)
        if terms.disk:
            stack.enter_context(terms.disk)
        server = PrivateMariaDB(data, options=terms.server_options)
        stack.callback(_copy_log, data / "log", directory / "mariadb.log")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        password = secrets.token_hex(8)
        url = await _database(server, terms, data, password)
        admin, asking = Admin(url), Admin(url)
        stack.push_async_callback(admin.close)
        stack.push_async_callback(asking.close)
        counter = Counter(asking, directory, LEASE_S)
        sink, model = Sink(), model_server(chance)
        await stack.enter_async_context(counter.listening())
        await stack.enter_async_context(sink.serving())
        model_url = await stack.enter_async_context(model)
        made = Arena(terms, chance, directory, server, admin, counter, sink, model_url, password)
        stack.push_async_callback(made.close)
        await _start_processes(made, stack)
        yield made


def _copy_log(log: Path, to: Path) -> None:
    if log.exists():
        shutil.copyfile(log, to)


def _sockets(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock")]


async def _database(server: PrivateMariaDB, terms: Terms, data: Path, password: str) -> str:
    """Make the database, the account and the tables; returns the administrator's URL."""
    admin = Admin(server.url)
    for statement in (
        *terms.server_settings,
        f"create database {DATABASE} character set utf8mb4",
        f"create user {ACCOUNT}@'%' identified by '{password}'",
        f"grant all on {DATABASE}.* to {ACCOUNT}@'%'",
    ):
        await admin.rows(statement)
    await admin.close()
    if terms.disk:
        terms.disk.move(data / "data" / DATABASE)
    url = urlsplit(server.url)._replace(path=f"/{DATABASE}").geturl()
    await migrate(url)
    store = await open_store(url)
    try:
        await store.run_script(chaos.SCHEMA)
    finally:
        await store.close()
    return url


async def _start_processes(made: Arena, stack: AsyncExitStack) -> None:
    environment = made.environment(made.app_url())
    (made.web,) = await stack.enter_async_context(
        webs(1, {**environment, "WEB_DRIVES": "foreground"}, made.directory)
    )
    for number in range(WORKERS):
        port = None
        if made.terms.through_proxies:
            chance = random.Random(made.chance.random())
            proxy = Proxy(made.server.port, chance)
            made.proxies.append(await stack.enter_async_context(proxy.listening()))
            port = proxy.port
        await made.start_worker(f"worker-{number + 1}", port)
