"""A simulated process: the real worker on its own event loops, which signals stop or end."""

import asyncio
import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from tests.simulation.faults import Clock, Signal
from tests.simulation.loop import Timeline, VirtualLoop
from tests.simulation.network import Network, Trouble
from tests.simulation.server import SimulatedServer
from tests.simulation.store import SimulatedStore
from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry, Event
from twelvefold.core.ids import LeaseToken, RunId
from twelvefold.core.ports import Claim, Ids, Lease, Mailer, Model, NewRun, Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.lease import RenewalThread, RenewedLease
from twelvefold.engine.services import Services
from twelvefold.worker.loop import Worker

GRACE_S = 5.0
POLL_S = 4.0
RUNS = 4


class ProcessStore(SimulatedStore):
    """The store of one process; `tokens` are those of the leases that it was granted."""

    def __init__(self, link: Network) -> None:
        super().__init__(link)
        self.tokens: dict[RunId, set[str]] = defaultdict(set)

    async def claim(
        self,
        run: RunId,
        lease_s: float,
        token: LeaseToken | None = None,
        lock_wait_s: float = 0.0,
    ) -> Claim | None:
        claimed = await super().claim(run, lease_s, token, lock_wait_s)
        if claimed:
            self.tokens[run].add(claimed.lease.token)
        return claimed

    async def start(
        self, new: NewRun, started: Event, lease_s: float | None
    ) -> tuple[Entry, Lease | None]:
        entry, lease = await super().start(new, started, lease_s)
        if lease:
            self.tokens[new.run].add(lease.token)
        return entry, lease


class SimulatedRenewals(RenewalThread):
    """Renews leases on an event loop of the process that simulates a thread."""

    def __init__(self, process: "Process") -> None:
        super().__init__(self._open, process.loop.time)
        self._process = process
        self._has_begun = False

    async def _open(self) -> Store:
        return SimulatedStore(self._process.network)

    def add(self, held: RenewedLease) -> None:
        self._leases[held] = None
        if not self._has_begun and not self._process.loop.is_dead:
            self._has_begun = True
            self._process.new_loop().create_task(self._work_until_stopped())

    async def _work_until_stopped(self) -> None:
        with suppress(asyncio.CancelledError):
            await self._work()


class Process:
    """Processes with the same number, one after another, as a supervisor starts them."""

    def __init__(
        self,
        number: int,
        timeline: Timeline,
        server: SimulatedServer,
        trouble: Trouble,
        rng: random.Random,
        clock: Clock | None,
        make: Callable[["Process"], Services],
        mailer: Mailer,
    ) -> None:
        self.number = number
        self.timeline = timeline
        self.name = ""
        self.store: ProcessStore
        self.renewals: SimulatedRenewals
        self.remains: list[asyncio.Task[Any]] = []
        """Tasks of processes that were killed."""
        self.is_over = False
        self._server = server
        self._trouble = trouble
        self._random = rng
        self._clock = clock
        self._make = make
        self._mailer = mailer
        self._life = 0
        self._loops: list[VirtualLoop] = []
        self._offset_s = 0.0
        self._ends = False

    def start(self) -> None:
        """Start a worker, unless the simulation is about to end."""
        if self._ends:
            self.is_over = True
            return
        self._life += 1
        self.name = f"{self.number}.{self._life}"
        self._offset_s = 1000.0 * self._random.random()
        self._loops = []
        self.loop = self.new_loop()
        life = self._life
        self.network = Network(
            self._server,
            self.timeline,
            trouble=self._trouble,
            process=self.number,
            rng=self._random,
            skew_us=int(self._clock.skew_s * 1_000_000) if self._clock else 0,
            kill=lambda: self.kill(life=life),
        )
        self.store = ProcessStore(self.network)
        self.renewals = SimulatedRenewals(self)
        self.loop.create_task(self._main())

    def new_loop(self) -> VirtualLoop:
        """The event loop of another thread of the process."""
        rate = self._clock.rate if self._clock else 1.0
        loop = VirtualLoop(self.timeline, self, offset_s=self._offset_s, rate=rate)
        self._loops.append(loop)
        return loop

    def start_thread(self, work: Callable[[], object]) -> None:
        """Do some work in a new thread, which begins when the machine has time for it."""
        self.new_loop().call_later(self._random.choice([0.0, 0.001, 0.1, 3.0]), work)

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self.services = self._make(self)
        worker = Worker(self.services, RUNS, POLL_S, grace_s=GRACE_S, mailer=self._mailer)
        try:
            await worker.run(self._stop)
        except Exception as error:
            self.timeline.faults.append(f"worker {self.name} ended with {error!r}")
        await self.renewals.close()
        self.timeline.later(0.0, self._exited, self._life)

    def _exited(self, life: int) -> None:
        if life == self._life and not self.loop.is_dead:
            self.network.close_all()
            self.remains += self._all_tasks()
            self.timeline.later(1.0, self.start)

    # --- signals ------------------------------------------------------------------------------

    def run_beside(self, work: Callable[[Services], Coroutine[Any, Any, object]]) -> None:
        """Run something in the process beside its worker, if there is a process now."""
        if self._life and not self.loop.is_dead:
            self.loop.call_soon(lambda: self.loop.create_task(work(self.services)))

    def signal(self, one: Signal) -> None:
        if not self._life:
            return  # it has not been started yet
        self._trouble.fired.append((self.timeline.now, one))
        match one.does:
            case "kill":
                self.kill()
            case "unplug":
                self.kill(after_s=one.for_s)
            case "pause":
                for loop in self._loops:
                    loop.stop_for(one.for_s)
            case "block":
                self.loop.stop_for(one.for_s)
            case "terminate":
                self.terminate()

    def kill(self, *, after_s: float = 0.0, life: int = 0) -> None:
        """End the process at once; the server closes its connections so much later."""
        if life not in (0, self._life) or self.loop.is_dead:
            return
        self.network.close_all(after_s)
        self.remains += self._all_tasks()
        self.timeline.later(self._random.uniform(0.5, 3.0), self.start)

    def terminate(self) -> None:
        """Request the worker to stop, as SIGTERM does."""
        if not self.loop.is_dead:
            self.loop.call_soon(lambda: self._stop.set())

    def end(self) -> None:
        """Let the process end, and start no other."""
        self._ends = True
        self.terminate()

    def bury(self) -> None:
        """Free the tasks that the processes have left, without running them to their end."""
        if self._life:
            self.remains += self._all_tasks()
        bury(self.remains)

    def _all_tasks(self) -> list["asyncio.Task[Any]"]:
        return [task for loop in self._loops for task in loop.kill()]


def bury(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Close the coroutines of tasks that will never end."""
    with warnings.catch_warnings():
        # Of what it calls in an `except` or a `finally`, which has no event loop any more.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())


def _close(coroutine: Any) -> None:
    for _ in range(10):
        try:
            coroutine.close()
            return
        except RuntimeError:
            continue  # it awaits something in a `finally`
        except BaseException:
            return


def services_of(
    process: Process, model: Model, workflow: Workflow, ids: Ids, limits: Limits
) -> Services:
    """Return the services of a process."""
    return Services(
        process.store,
        model,
        {workflow.name: workflow},
        ids,
        limits,
        "1.0",
        monotonic=process.loop.time,
        renewer=process.renewals,
    )
