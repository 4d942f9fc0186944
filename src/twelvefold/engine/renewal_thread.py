"""Lease renewals in a thread with an event loop and database connections of their own.

They do not depend on the event loop of the runs, which a tool may block.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from twelvefold.core.ports import Store
from twelvefold.engine.lease import Clock, RenewedLease
from twelvefold.engine.loop_watch import LoopWatch
from twelvefold.engine.renewal import IDLE_S, renew_leases
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
OpenStore = Callable[[], Awaitable[Store]]
WATCH_S = 0.25
"""How often the event loops of the runs are looked at."""
STOP_S = 1.0
"""How long a process that ends waits for the thread; it ends with the process at the latest."""


class RenewalThread:
    """Renews leases in a thread, which starts with the first lease. Obeys `lease.Renewer`.

    `open_store` opens the thread's own store; it is called in the thread.
    """

    def __init__(self, open_store: OpenStore, clock: Clock) -> None:
        self._open_store = open_store
        self._watch = LoopWatch(clock)
        self._leases: dict[RenewedLease, None] = {}
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._stop: Callable[[], object] = lambda: None

    @property
    def is_watched(self) -> bool:
        """Whether an event loop has been given a callback and is expected to run it."""
        return self._watch.is_waiting

    def add(self, held: RenewedLease) -> None:
        self._leases[held] = None
        if self._thread is None:
            # A daemon: a database that hangs never keeps the process from its exit.
            thread = threading.Thread(target=self._main, name="leases", daemon=True)
            thread.start()
            self._thread = thread

    async def discard(self, held: RenewedLease) -> None:
        self._leases.pop(held, None)

    async def close(self) -> None:
        """Stop the thread; wait for a moment at most."""
        self._is_stopping = True
        with suppress(RuntimeError):  # its loop is closed already
            self._stop()
        if self._thread is not None:
            await _ended(self._thread)

    # --- in the thread ------------------------------------------------------------------------

    def _main(self) -> None:
        while True:
            try:
                asyncio.run(self._work())
            except Exception:  # no file descriptor is left for its event loop, say
                log.exception("lease_renewal_failed")
                time.sleep(IDLE_S)
            if self._is_stopping:
                return

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._renew()), group.create_task(self._look())]
            loop = asyncio.get_running_loop()
            self._stop = partial(loop.call_soon_threadsafe, _cancel, tasks)
            if self._is_stopping:
                _cancel(tasks)

    async def _renew(self) -> None:
        store = await self._opened()
        try:
            await renew_leases(self._leases, store, self._may_renew)
        finally:
            with suppress(Exception):
                await store.close()

    async def _opened(self) -> Store:
        while True:
            try:
                return await self._open_store()
            except Exception:
                log.exception("lease_renewal_failed")
            await asyncio.sleep(IDLE_S)

    async def _look(self) -> None:
        while True:
            try:
                self._watch.look(list(self._leases))
            except Exception:
                log.exception("event_loop_not_watched")
            await asyncio.sleep(WATCH_S if self._leases else IDLE_S)

    def _may_renew(self, held: RenewedLease) -> bool:
        return held.is_due() and not self._watch.is_stuck(held)


def _cancel(tasks: Iterable["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()


async def _ended(thread: threading.Thread) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            while thread.is_alive():  # noqa: ASYNC110 - a thread sets no event of this loop
                await asyncio.sleep(0.005)
