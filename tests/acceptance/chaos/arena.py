"""What one scene stands on: a MariaDB, two workers, a web process, a model, mail and a counter."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.chaos.admin import Admin
from tests.acceptance.chaos.counter import Counter
from tests.acceptance.chaos.model import ModelServer
from tests.acceptance.chaos.plan import Variant
from tests.acceptance.chaos.proxy import Proxy
from tests.acceptance.chaos.recovery import LONGEST_S, recovery_s
from tests.acceptance.chaos.shared import Cluster
from tests.acceptance.chaos.terms import LEASE_S, Terms
from tests.acceptance.crash import ENTRY_POINT, ROOT
from tests.acceptance.webs import Web
from tests.acceptance.workers import Worker
from tests.servers import PrivateMariaDB
from tests.smtp_sink import Sink
from twelvefold.core.ports.wake_ups import NoWakeUps, WakeUps

DATABASE = "chaos"
ACCOUNT = "chaos_app"
"""The account of the workers and of web; the faults of accounts and connections are aimed at it."""
LOCAL = "local"
"""The principal of requests without a key, which approve the calls."""


@dataclass
class Arena:
    """`runs` has every run that was written, with its variant; `notes` goes below the table.

    `wrong` lists the errors of processes. `recoveries_s` has, for each fault that was over, the
    seconds until all had continued.
    """

    terms: Terms
    chance: random.Random
    directory: Path
    server: PrivateMariaDB | Cluster
    admin: Admin
    counter: Counter
    sink: Sink
    model: ModelServer
    app_password: str
    workers: list[Worker] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    runs: dict[str, Variant] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    web: Web | None = None
    wake_ups: WakeUps = field(default_factory=NoWakeUps)

    async def close(self) -> None:
        for worker in self.workers:
            if worker.process.returncode is None:
                await worker.end(signal.SIGKILL)

    @property
    def mariadb(self) -> PrivateMariaDB:
        """The server of a scene without a cluster."""
        assert isinstance(self.server, PrivateMariaDB)
        return self.server

    @property
    def admin_url(self) -> str:
        return with_database(self.server.url)

    def app_url(self, proxy: Proxy | None = None) -> str:
        """The database under the application's account, on all servers or through a proxy."""
        hosts = self.server.url.rpartition("/")[0].rpartition("@")[2]
        hosts = f"127.0.0.1:{proxy.port}" if proxy else hosts
        return f"mysql://{ACCOUNT}:{self.app_password}@{hosts}/{DATABASE}"

    def environment(self, database_url: str) -> dict[str, str]:
        """The settings of a process that takes part."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "6",
            "OPENAI_BASE_URL": self.model.url,
            "OPENAI_MODEL": "mock",
            "WORKFLOWS": "tests.acceptance.chaos.workflow:workflow",
            "LEASE_S": f"{LEASE_S:g}",
            "GRACE_S": "5",
            "MAX_RUNS": str(self.terms.load.max_runs),
            "SMTP_URL": self.sink.url(),
            "MAIL_FROM": "Cases <cases@chaos.example>",
            "CHAOS_SOCKET": str(self.counter.socket),
            "CHAOS_LEASES": str(self.counter.notes),
            "CHAOS_EPOCH_US": str((time.time_ns() - time.monotonic_ns()) // 1000),
            "CHAOS_NOTES": str(self.terms.notes),
            "CHAOS_BLOCK_S": f"{self.terms.block_s:g}",
            **({"BROKER_URL": self.terms.broker.urls[0]} if self.terms.broker else {}),
            **self.terms.settings,
        }

    async def add_worker(self) -> None:
        """Start one more worker, through its proxy where there is one."""
        self.workers.append(await self._worker(len(self.workers), {}))

    async def replace_worker(
        self, number: int, how: signal.Signals, settings: Mapping[str, str] | None = None
    ) -> int:
        """End a worker and start its replacement at the same time; return the exit status."""
        old = self.workers[number]
        old.process.send_signal(how)
        self.workers[number] = await self._worker(number, settings or {})
        return await old.process.wait()

    async def restart_web(self, how: signal.Signals) -> int:
        """End web, and start it again at the same address; return the exit status."""
        assert self.web is not None
        status = await self.web.end(how)
        await self.web.start()
        return status

    async def _worker(self, number: int, settings: Mapping[str, str]) -> Worker:
        name = f"worker-{number + 1}"
        log = self.directory / f"{name}.log"
        proxy = self.proxies[number] if self.proxies else None
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, "worker"),
                env={**self.environment(self.app_url(proxy)), **settings},
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        return Worker(name, process, log)

    async def recover(self) -> None:
        """Wait after a fault until all runs and mails have continued, and record the time."""
        took_s = await recovery_s(self.admin)
        if took_s is None:
            self.notes.append(f"not all had continued {LONGEST_S:g} s after a fault")
        self.recoveries_s.append(LONGEST_S if took_s is None else took_s)

    def log_lines(self) -> str:
        """Everything that the processes wrote."""
        return "\n".join(one.read_text(errors="replace") for one in self.directory.glob("w*.log"))


def with_database(url: str) -> str:
    """The URL of a server, or of several, with the database of the scenes."""
    return f"{url.rpartition('/')[0]}/{DATABASE}"
