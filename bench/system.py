"""CPU time of other processes, as Linux counts it, and the circumstances of a run."""

import asyncio
import os
import platform
from pathlib import Path

from bench.mysql import execute

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, threads that have ended included.

    Source: proc_pid_stat(5), fields 14 and 15; a tick is 10 ms.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def threads_cpu_s(pid: int) -> float:
    """Return the CPU time of the threads that a process has, in nanoseconds' precision.

    Source: the kernel's sched-stats.rst, first number.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


async def server_pid(url: str) -> int | None:
    """Return the process of the database server; None if it is on another machine."""
    [(data, name)] = await execute(url, "select @@datadir, @@pid_file")
    return await asyncio.to_thread(_read_pid, Path(data, name))


def _read_pid(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None


async def circumstances(url: str) -> str:
    """Describe machine and software."""
    [(version,)] = await execute(url, "select version()")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores, python = os.cpu_count(), platform.python_version()
    return f"{cores} cores, {version}, Python {python}; load average before: {load}"
