"""From a process's start to its first request to the model; and what `--help` costs.

The server that is asked notes the moment, and the CPU that the process has had until then, as
Linux counts it; the process is killed there. Rounds are interleaved, and medians are told.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENTRY_POINT = "from twelvefold.cli.main import main; raise SystemExit(main())"
"""What the console script does."""
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
FIRST_REQUEST_S = 30.0
Start = tuple[float, float]
"""Wall and CPU milliseconds."""


async def cold_starts(mysql_url: str, sqlite_url: str, rounds: int) -> dict[str, Start]:
    """The medians by name."""
    run = ["-c", ENTRY_POINT, "run", "Hello"]
    programs: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
        "bare aiohttp loop": (["-c", BARE], {}),
        "openai SDK loop": (["-c", SDK], {}),
        "twelvefold run, SQLite": (run, {"DATABASE_URL": sqlite_url}),
        "twelvefold run, MariaDB": (run, {"DATABASE_URL": mysql_url}),
    }
    starts: dict[str, list[Start]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, (arguments, environment) in programs.items():
            start = await _cold_start(arguments, environment)
            if number:  # the first round warms the file cache
                starts[name].append(start)
    return {name: _median(found) for name, found in starts.items()}


def help_ratio(rounds: int) -> float:
    """The CPU of `twelvefold --help` over that of `python -c pass`."""
    helps, passes = [], []
    for _ in range(rounds):
        passes.append(_whole_cpu_s(["-c", "pass"]))
        helps.append(_whole_cpu_s(["-c", ENTRY_POINT, "--help"]))
    return statistics.median(helps) / statistics.median(passes)


def _median(starts: Sequence[Start]) -> Start:
    walls, cpus = zip(*starts, strict=True)
    return statistics.median(walls), statistics.median(cpus)


async def _cold_start(arguments: Sequence[str], environment: Mapping[str, str]) -> Start:
    requested: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda reader, writer: note(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**_environment(port), **environment},
    )

    def note() -> None:
        if not requested.done():
            wall_s = time.monotonic() - began
            requested.set_result((wall_s * 1000, cpu_so_far_s(process.pid) * 1000))

    try:
        async with asyncio.timeout(FIRST_REQUEST_S):
            return await requested
    except TimeoutError:
        process.kill()
        _, said = process.communicate()
        raise RuntimeError(f"{arguments!r} asked for nothing: {said.decode()}") from None
    finally:
        process.kill()
        process.communicate()
        server.close()


def _environment(port: int) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": "bench",
    }


def cpu_so_far_s(pid: int) -> float:
    """The CPU that all threads of a process have had.

    Source: the kernel's sched-stats.rst; the first number is nanoseconds.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _whole_cpu_s(arguments: Sequence[str]) -> float:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, cwd=ROOT, env=_environment(1)
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return usage.ru_utime + usage.ru_stime
