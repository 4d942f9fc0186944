"""What a measurement stands on: a database, one web process, one worker, and the abuser."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.abuse.lane import Target
from tests.acceptance.academy import Place, academy
from tests.acceptance.chaos.admin import Admin
from tests.acceptance.crash import ENTRY_POINT, ROOT, Process
from tests.ports import free_port
from tests.servers.home import Record
from twelvefold.core.ports import SCOPES
from twelvefold.engine.keys import create_key
from twelvefold.services.store import open_store

READY_S = 30.0
COURSES = 20
WORKFLOWS = (
    "twelvefold.workflows.enrolment.workflow:workflow,tests.acceptance.abuse.workflow:workflow"
)


@dataclass
class Arena:
    """`keys` are the other tenant's, the abuser's, and one of the abuser's that was revoked."""

    port: int
    admin: Admin
    keys: tuple[str, str, str]
    processes: dict[str, Process] = field(default_factory=dict)

    def pids(self) -> dict[str, int]:
        """The processes by name, with the database's where it is one of `tests.servers`."""
        own = {name: process.pid for name, process in self.processes.items()}
        servers = [record.pid for record in Record.all() if record.alive]
        return own | ({"database": servers[0]} if servers else {})

    async def statements(self) -> int:
        (row,) = await self.admin.rows("show global status like 'Questions'")
        return int(row["Value"])

    async def tell(self, what: str, ways: Sequence[str] = ()) -> dict[str, Any]:
        """Have the abuser do something. Raises RuntimeError where it has died."""
        process = self.processes["abuser"]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": what, "ways": list(ways)}).encode() + b"\n")
        await process.stdin.drain()
        if not (line := await process.stdout.readline()):
            raise RuntimeError("the abuser has died")
        told: dict[str, Any] = json.loads(line)
        return told


@asynccontextmanager
async def arena(
    server_url: str, logs: Path, *, threads: int, item_bytes: int, settings: Mapping[str, str]
) -> AsyncIterator[Arena]:
    """All of it on a database of its own, ended with the body; the logs go to that directory."""
    async with AsyncExitStack() as stack:
        courses = [Place(number) for number in range(1, COURSES + 1)]
        name = f"abuse_{secrets.token_hex(6)}"
        url = await stack.enter_async_context(academy(server_url, name, courses))
        keys = await _keys(url)
        admin = Admin(url)
        stack.push_async_callback(admin.close)
        port = free_port()
        made = Arena(port, admin, keys)
        stack.push_async_callback(_end, made)
        for command in ("web", "worker"):
            made.processes[command] = await _service(command, url, port, logs, settings)
        await _listening(made)
        made.processes["abuser"] = await _abuser(
            Target(port, keys[1], keys[2], threads, item_bytes), logs
        )
        yield made


async def _keys(url: str) -> tuple[str, str, str]:
    store = await open_store(url)
    try:
        good, _ = await create_key(store, "good", "good", SCOPES)
        abusive, _ = await create_key(store, "abusive", "abusive", SCOPES)
        revoked, kept = await create_key(store, "revoked", "abusive", SCOPES)
        await store.revoke_key(kept.id)
    finally:
        await store.close()
    return good, abusive, revoked


async def _service(
    command: str, url: str, port: int, logs: Path, settings: Mapping[str, str]
) -> Process:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
        "DATABASE_URL": url,
        "WORKFLOWS": WORKFLOWS,
        "PORT": str(port),
        **settings,
    }
    with (logs / f"{command}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ENTRY_POINT, command),
            env=environment,
            cwd=logs,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


async def _listening(made: Arena) -> None:
    async with asyncio.timeout(READY_S):
        while made.processes["web"].returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", made.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
    raise RuntimeError("web has ended before it listened")


async def _abuser(target: Target, logs: Path) -> Process:
    config = {
        "port": target.port,
        "key": target.key,
        "revoked_key": target.revoked_key,
        "threads": target.threads,
        "item_bytes": target.item_bytes,
    }
    with (logs / "abuser.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.acceptance.abuse.abuser", json.dumps(config)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )


async def _end(made: Arena) -> None:
    for process in reversed(made.processes.values()):
        if process.returncode is None:
            process.kill()
            await process.wait()
