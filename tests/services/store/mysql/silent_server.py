"""A server process that accepts packets and does not answer."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path


async def stop(pid: int) -> None:
    """Send SIGSTOP and wait until each thread has stopped: a thread that runs still answers."""
    os.kill(pid, signal.SIGSTOP)
    while any(state != "T" for state in states(pid)):
        await asyncio.sleep(0.01)


def states(pid: int) -> Iterator[str]:
    """Yield the state of each thread. Source: proc_pid_stat(5)."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        yield stat.read_text().rpartition(")")[2].split()[0]
