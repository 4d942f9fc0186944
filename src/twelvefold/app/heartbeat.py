"""Records this process in the database while it runs, for the operators who see all processes.

A process that is killed stays in the table with its last heartbeat. None of this delays a run: a
heartbeat that fails is repeated at the next interval.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace

from twelvefold.core import Process, ProcessKind
from twelvefold.engine import Services
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
HEARTBEAT_S = 10.0
"""The interval of heartbeats. A process that missed three of them is probably dead."""
REMOVE_TIMEOUT_S = 1.0
"""How long a process that ends tries to remove its row."""
HOST_LENGTH = 255


@asynccontextmanager
async def heartbeats(
    services: Services,
    kind: ProcessKind,
    count_runs: Callable[[], int],
    *,
    interval_s: float = HEARTBEAT_S,
) -> AsyncIterator[None]:
    """Record the process with `count_runs` during the body, and remove it at the end."""
    process = Process(
        secrets.token_hex(16),
        kind,
        services.release,
        socket.gethostname()[:HOST_LENGTH],
        os.getpid(),
    )
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    beating = loop.create_task(
        _beat(services, process, count_runs, interval_s, stop), name=f"heartbeat {kind}"
    )
    try:
        yield
    finally:
        stop.set()
        await _remove(services, process, beating)


async def _beat(
    services: Services,
    process: Process,
    count_runs: Callable[[], int],
    interval_s: float,
    stop: asyncio.Event,
) -> None:
    while not stop.is_set():
        try:
            await services.store.record_heartbeat(replace(process, runs=count_runs()))
        except ServiceFault as error:
            log.warning("heartbeat_not_recorded", error=error)
        except Exception:
            log.exception("heartbeat_not_recorded")
        with suppress(TimeoutError):
            async with asyncio.timeout(interval_s):
                await stop.wait()


async def _remove(services: Services, process: Process, beating: "asyncio.Task[None]") -> None:
    """Remove the process after its last heartbeat, which would otherwise add it again."""
    try:
        async with asyncio.timeout(REMOVE_TIMEOUT_S):
            await beating
            await services.store.remove_process(process.id)
    except (ServiceFault, TimeoutError) as error:
        log.warning("process_not_removed", error=error)
