"""From the start of a process to its first request to the model, and to the first ready answer.

A process is killed at its first request to the model. Rounds are interleaved.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import NEUTRAL, ROOT, Version, source_environment
from bench.samples import Samples
from bench.system import threads_cpu_s

ENTRY_POINT = "from twelvefold.cli.main import main; raise SystemExit(main())"
"""The console script."""
BARE = """
import asyncio, os, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        body = {"model": "mock", "input": [{"role": "user", "content": "Hello"}]}
        await session.post(os.environ["OPENAI_BASE_URL"] + "/responses", json=body)
asyncio.run(main())
"""
SDK = """
import asyncio
from openai import AsyncOpenAI
async def main():
    items = [{"role": "user", "content": "Hello"}]
    await AsyncOpenAI(max_retries=0).responses.create(model="mock", input=items)
asyncio.run(main())
"""
SMALLEST = """
import os, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def ready(request):
    return JSONResponse({"status": "ready"})
app = Starlette(routes=[Route("/readyz", ready)])
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="error", access_log=False)
"""
BARE_START, SDK_START = "bare aiohttp loop", "openai SDK loop"
RUN_START, RUN_START_MYSQL = "twelvefold run, SQLite", "twelvefold run, MariaDB"
SMALLEST_START, WEB_START = "smallest app on uvicorn", "twelvefold web, SQLite"
WEB_START_MYSQL = "twelvefold web, MariaDB"
HELP = "help over `python -c pass`"
WAIT_S = 30.0
Program = tuple[Sequence[str], Mapping[str, str]]
"""The arguments of Python, and the environment."""


@dataclass(frozen=True, slots=True)
class WebServer:
    """A server that is ready; the CPU time is that until then."""

    url: str
    wall_ms: float
    cpu_ms: float
    process: "subprocess.Popen[bytes]"


def twelvefold(*arguments: str) -> list[str]:
    """Return the arguments of Python for a command of Twelvefold."""
    return ["-P", "-c", ENTRY_POINT, *arguments]


async def cold_starts(versions: Sequence[Version], rounds: int, samples: Samples) -> None:
    """Measure all starts; with several rounds, a first one only warms the file cache."""
    for number in range(rounds + 1 if rounds > 1 else 1):
        into = samples if number or rounds == 1 else Samples()
        for name, program in _clients(versions).items():
            wall_ms, cpu_ms = await _first_request(program)
            into.add(name, "start wall", wall_ms)
            into.add(name, "start cpu", cpu_ms)
        for name, (arguments, environment) in _servers(versions).items():
            with web_server(arguments, environment) as web:
                into.add(name, "start wall", web.wall_ms)
                into.add(name, "start cpu", web.cpu_ms)
    for version in versions:
        samples.add(f"twelvefold --help{version.suffix}", HELP, _help_ratio(version, rounds))


def _clients(versions: Sequence[Version]) -> dict[str, Program]:
    own = source_environment(ROOT)
    programs: dict[str, Program] = {
        BARE_START: (["-c", BARE], own),
        SDK_START: (["-c", SDK], own),
    }
    for version in versions:
        run = twelvefold("run", "Hello")
        for name, url in ((RUN_START, version.sqlite_url), (RUN_START_MYSQL, version.mysql_url)):
            programs[name + version.suffix] = (run, {**version.environment, "DATABASE_URL": url})
    return programs


def _servers(versions: Sequence[Version]) -> dict[str, Program]:
    programs: dict[str, Program] = {SMALLEST_START: (["-c", SMALLEST], source_environment(ROOT))}
    for version in versions:
        web = twelvefold("web")
        for name, url in ((WEB_START, version.sqlite_url), (WEB_START_MYSQL, version.mysql_url)):
            programs[name + version.suffix] = (web, {**version.environment, "DATABASE_URL": url})
    return programs


async def _first_request(program: Program) -> tuple[float, float]:
    """Return wall and CPU milliseconds up to the first request."""
    requested: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda reader, writer: note(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    arguments, environment = program
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=NEUTRAL,
        env={**environment, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "bench"},
    )

    def note() -> None:
        if not requested.done():
            wall_s = time.monotonic() - began
            requested.set_result((wall_s * 1000, threads_cpu_s(process.pid) * 1000))

    try:
        async with asyncio.timeout(WAIT_S):
            return await requested
    except TimeoutError:
        process.kill()
        _, output = process.communicate()
        raise RuntimeError(f"{arguments!r} sent no request: {output.decode()}") from None
    finally:
        process.kill()
        process.communicate()
        server.close()


@contextmanager
def web_server(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[WebServer]:
    """A web server in a process of its own, once it is ready."""
    port = _free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        cwd=NEUTRAL,
        env={**environment, "PORT": str(port)},
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > began + WAIT_S:
                raise RuntimeError(f"{arguments} is not ready")
            time.sleep(0.002)
        wall_s, cpu_s = time.monotonic() - began, threads_cpu_s(process.pid)
        yield WebServer(f"http://127.0.0.1:{port}", wall_s * 1000, cpu_s * 1000, process)
    finally:
        process.terminate()
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


def _help_ratio(version: Version, rounds: int) -> float:
    """Return the CPU time of `twelvefold --help` over that of `python -c pass`."""
    helps, passes = [], []
    for _ in range(rounds):
        passes.append(_whole_cpu_s(["-c", "pass"], version.environment))
        helps.append(_whole_cpu_s(twelvefold("--help"), version.environment))
    return statistics.median(helps) / statistics.median(passes)


def _whole_cpu_s(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=NEUTRAL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_utime + usage.ru_stime
