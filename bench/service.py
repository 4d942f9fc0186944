"""What the service costs: its start, an empty request, and a turn over HTTP beside one without.

    DATABASE_URL=mysql://… python -m bench.service [--rounds N] [--seconds S]

Beside `twelvefold web` stands the smallest app on the same server (uvicorn, Starlette, uvloop), and
beside a turn over HTTP the same turn in a process that has the engine itself, as the command line
does. Both on a real MariaDB, in turn, several rounds; medians are told. CPU is the process's own.
"""

import argparse
import asyncio
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from bench.asking import COURSES, course, wish
from bench.cold_start import ENTRY_POINT, ROOT, cpu_so_far_s
from bench.database import asking, prepare, private_database
from bench.processes import OURS, World, contender, mock_model
from bench.table import markdown
from twelvefold.admin.keys import create_key
from twelvefold.core.ports import SCOPES
from twelvefold.services.store import open_store

SMALLEST = """
import os, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def healthz(request):
    return JSONResponse({"status": "alive"})
app = Starlette(routes=[Route("/readyz", healthz), Route("/healthz", healthz)])
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)
"""
READY_S = 20.0
AT_ONCE = 32
STUDENTS = 40
"""Each enrols once in each course."""
Rates = dict[tuple[str, str], list[tuple[float, float]]]
"""How many a second and the CPU time of one, a round each, by what was measured and of whom."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers at a port."""

    port: int
    ready_ms: float
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def server(program: str, *arguments: str, **environment: str) -> Iterator[Server]:
    """A server's process, once it is ready."""
    port = _free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        | {"PORT": str(port), **environment},
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > began + READY_S:
                raise RuntimeError(f"{arguments} is not ready")
            time.sleep(0.002)
        yield Server(port, (time.monotonic() - began) * 1000, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
            one.sendall(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return one.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


# --- start ----------------------------------------------------------------------------------------


def starts(urls: Mapping[str, str], base_url: str, rounds: int) -> dict[str, float]:
    """Milliseconds until ready, by name."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name, url in urls.items():
            told = {"DATABASE_URL": url, "OPENAI_BASE_URL": base_url} if url else {}
            program, arguments = (ENTRY_POINT, ["web"]) if url else (SMALLEST, [])
            with server(program, *arguments, **told) as one:
                if number:  # the first round warms the file cache
                    found.setdefault(name, []).append(one.ready_ms)
    return {name: statistics.median(walls) for name, walls in found.items()}


# --- requests -------------------------------------------------------------------------------------


async def for_a_while(
    do: Callable[[int], Awaitable[None]], at_once: int, seconds: float, numbers: Iterator[int]
) -> tuple[float, int]:
    """So many at once, one after the other, for so long: how many a second, and how many."""
    began, done = time.monotonic(), 0

    async def one_after_the_other() -> None:
        nonlocal done
        while time.monotonic() < began + seconds:
            await do(next(numbers))
            done += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(one_after_the_other())
    return done / (time.monotonic() - began), done


@asynccontextmanager
async def session(one: Server) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(one.url, connector=connector) as opened:
        yield opened


async def health(one: Server, seconds: float) -> tuple[float, float]:
    """Requests a second, and the server's CPU microseconds for one."""
    async with session(one) as client:

        async def ask(_: int) -> None:
            async with client.get("/healthz") as answer:
                await answer.read()

        before = cpu_so_far_s(one.process.pid)
        rate, done = await for_a_while(ask, AT_ONCE, seconds, iter(range(10**9)))
        return rate, (cpu_so_far_s(one.process.pid) - before) * 1e6 / done


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns over HTTP: each of `numbers` enrols a student, whose key it has, in a course."""

    server: Server
    keys: Sequence[str]
    numbers: Iterator[int]

    async def measured(self, at_once: int, seconds: float, *, stream: bool) -> tuple[float, float]:
        """Turns a second, and the server's CPU milliseconds for one."""
        pid = self.server.process.pid
        async with session(self.server) as client:
            before = cpu_so_far_s(pid)
            ask = partial(self._ask, client, stream)
            rate, done = await for_a_while(ask, at_once, seconds, self.numbers)
            return rate, (cpu_so_far_s(pid) - before) * 1000 / done

    async def _ask(self, client: aiohttp.ClientSession, stream: bool, number: int) -> None:
        body = {"model": "enrolment", "input": wish(course(number)), "stream": stream}
        headers = {"authorization": f"Bearer {self.keys[number // COURSES]}"}
        async with client.post("/v1/responses", json=body, headers=headers) as answer:
            text = await answer.text()
        assert '"status":"completed"' in text.replace(" ", ""), text[-500:]


async def rates(mysql_url: str, base_url: str, folder: Path, rounds: int, seconds: float) -> Rates:
    """Requests that do nothing, and turns, by name."""
    keys = await _keys(mysql_url)
    asking().write(folder / "asking.json")
    world = World(base_url, folder / "asking.json", mysql_url)
    told = {"DATABASE_URL": mysql_url, "OPENAI_BASE_URL": base_url, "OPENAI_MODEL": "mock"}
    found: Rates = {}
    with (
        server(SMALLEST) as smallest,
        server(ENTRY_POINT, "web", **told) as web,
        contender(OURS, world) as engine,
    ):
        turns = Turns(web, keys, iter(range(STUDENTS * COURSES)))
        for number in range(1, rounds + 1):
            print(f"bench: round {number}", file=sys.stderr, flush=True)
            for name, one in (("smallest app", smallest), ("twelvefold web", web)):
                found.setdefault(("`/healthz`", name), []).append(await health(one, seconds))
            for at_once in (1, AT_ONCE):
                told_by = engine.do("for_a_while", at_once=at_once, seconds=seconds)
                measured = {
                    "engine alone": (told_by["runs_s"], told_by["cpu_ms"]),
                    "HTTP": await turns.measured(at_once, seconds, stream=False),
                    "HTTP, streamed": await turns.measured(at_once, seconds, stream=True),
                }
                for name, rate in measured.items():
                    found.setdefault((f"turns, {at_once} at once", name), []).append(rate)
    return found


async def _keys(mysql_url: str) -> list[str]:
    store = await open_store(mysql_url)
    try:
        names = [f"student {number}" for number in range(STUDENTS)]
        return [(await create_key(store, name, name, SCOPES))[0] for name in names]
    finally:
        await store.close()


# --- the whole ------------------------------------------------------------------------------------


def tables(ready: Mapping[str, float], found: Rates) -> str:
    """All of it, each figure beside the first of its kind."""
    floor = next(iter(ready.values()))
    rows = [[name, f"{wall:.0f}", f"{wall / floor:.2f}x"] for name, wall in ready.items()]
    parts = [
        markdown(["start to ready", "wall ms", ""], rows),
        _rates_table("`/healthz`", "us", found),
    ]
    parts += [_rates_table(f"turns, {at_once} at once", "ms", found) for at_once in (1, AT_ONCE)]
    return "\n\n".join(parts)


def _rates_table(what: str, unit: str, found: Rates) -> str:
    medians = {
        name: (
            statistics.median(rate for rate, _ in rounds),
            statistics.median(cpu for _, cpu in rounds),
        )
        for (kind, name), rounds in found.items()
        if kind == what
    }
    first_rate, first_cpu = next(iter(medians.values()))
    rows = [
        [name, f"{rate:.0f}", f"{rate / first_rate:.2f}x", f"{cpu:.1f}", f"{cpu / first_cpu:.2f}x"]
        for name, (rate, cpu) in medians.items()
    ]
    return markdown([what, "a second", "", f"CPU {unit} each", ""], rows)


async def bench(server_url: str, rounds: int, seconds: float) -> str:
    """Measure everything; the tables."""
    name = f"bench_{secrets.token_hex(6)}"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, mock_model() as base_url:
        sqlite_url = f"sqlite:///{folder}/bench.db"
        await prepare(sqlite_url)
        async with private_database(server_url, name) as mysql_url:
            urls = {"smallest app": "", "SQLite": sqlite_url, "MariaDB": mysql_url}
            ready = await asyncio.to_thread(starts, urls, base_url, rounds)
            return tables(ready, await rates(mysql_url, base_url, Path(folder), rounds, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; `make bench-service` starts one")
    print(asyncio.run(bench(url, arguments.rounds, arguments.seconds)))


if __name__ == "__main__":
    main()
