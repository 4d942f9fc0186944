"""Lease renewals in a thread with its own event loop and database connections.

They do not depend on the event loop of the runs, which a tool may block.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from twelvefold.core import Store
from twelvefold.engine.lease.held_lease import Clock, RenewedLease
from twelvefold.engine.lease.loop_watch import LoopWatch
from twelvefold.engine.lease.renewal import DEFAULT_TIMINGS, RenewalTimings, renew_leases
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
OpenStore = Callable[[], Awaitable[Store]]


class RenewalThread:
    """Renews leases in a thread, which starts with the first lease. Implements `Renewer`.

    `open_store` opens the thread's own store; it is called in the thread.
    """

    def __init__(
        self,
        open_store: OpenStore,
        clock: Clock,
        timings: RenewalTimings = DEFAULT_TIMINGS,
    ) -> None:
        self._open_store = open_store
        self._watch = LoopWatch(clock)
        self._timings = timings
        self._leases: dict[RenewedLease, None] = {}
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._stop: Callable[[], object] = lambda: None

    @property
    def is_watching(self) -> bool:
        """Whether an event loop has been sent a callback that it has not run yet."""
        return self._watch.is_waiting

    def add(self, lease: RenewedLease) -> None:
        self._leases[lease] = None
        if self._thread is None:
            # A daemon: a database that does not answer must not keep the process from its exit.
            thread = threading.Thread(target=self._main, name="leases", daemon=True)
            thread.start()
            self._thread = thread

    async def discard(self, lease: RenewedLease) -> None:
        self._leases.pop(lease, None)

    async def close(self) -> None:
        """Stop the thread, and wait for it for `stop_s` at most."""
        self._is_stopping = True
        with suppress(RuntimeError):  # its loop is closed already
            self._stop()
        if self._thread is not None:
            await _wait_for_end(self._thread, self._timings.stop_s)

    # --- in the thread ------------------------------------------------------------------------

    def _main(self) -> None:
        while True:
            try:
                asyncio.run(self._work())
            except Exception:  # no file descriptor is left for its event loop, for example
                log.exception("lease_renewal_failed")
                time.sleep(self._timings.idle_s)
            if self._is_stopping:
                return

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._renew()), group.create_task(self._watch_loops())]
            loop = asyncio.get_running_loop()
            self._stop = partial(loop.call_soon_threadsafe, _cancel, tasks)
            if self._is_stopping:
                _cancel(tasks)

    async def _renew(self) -> None:
        store = await self._retry_open_store()
        try:
            await renew_leases(self._leases, store, self._may_renew, self._timings)
        finally:
            with suppress(Exception):
                await store.close()

    async def _retry_open_store(self) -> Store:
        while True:
            try:
                return await self._open_store()
            except Exception:
                log.exception("lease_renewal_failed")
            await asyncio.sleep(self._timings.idle_s)

    async def _watch_loops(self) -> None:
        while True:
            try:
                self._watch.check(list(self._leases))
            except Exception:
                log.exception("event_loop_not_watched")
            await asyncio.sleep(self._timings.watch_s if self._leases else self._timings.idle_s)

    def _may_renew(self, lease: RenewedLease) -> bool:
        return lease.is_due() and not self._watch.is_stuck(lease)


def _cancel(tasks: Iterable["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()


async def _wait_for_end(thread: threading.Thread, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while thread.is_alive():  # noqa: ASYNC110 - a thread sets no event of this loop
                await asyncio.sleep(0.005)
