"""One simulation: a seed and a schedule of faults make one history, the same every time."""

import hashlib
import random
from dataclasses import dataclass

from tests.simulation.clients import Client, Person
from tests.simulation.database import shared_database
from tests.simulation.faults import (
    LEASE_S,
    PROCESSES,
    Clock,
    Fault,
    Schedule,
    Signal,
    schedule_of,
)
from tests.simulation.invariants import Excuses, Journal, LiveReader, violations
from tests.simulation.loop import Timeline
from tests.simulation.network import Trouble, windows
from tests.simulation.patches import logged, patched
from tests.simulation.process import Process, bury, services_of
from tests.simulation.server import SimulatedServer
from tests.simulation.services import NumberedIds, SimulatedMailServer, SimulatedModel
from tests.simulation.workload import SHOP, Outside, Start, Turn, by_name, enter, leave, plans_of
from twelvefold.core.budget import Limits
from twelvefold.core.ids import RunId

END_S = 1_500.0
"""By then every run is over, and all mail is sent."""
STOP_S = 60.0
"""The longest that all processes together take to stop then."""
POLL_INTERVAL_S = 2.0
LIMITS = Limits(deadline_s=120.0, lease_s=LEASE_S)


@dataclass(frozen=True)
class Report:
    """The outcome of a simulation. `trace` is a hash of all statements that the server received."""

    seed: int
    schedule: Schedule
    violations: tuple[str, ...]
    trace: str
    ended_at_s: float


class Simulation:
    """Processes, clients and services of one seed."""

    def __init__(self, seed: int, schedule: Schedule) -> None:
        self.seed = seed
        self.timeline = Timeline()
        self.outside = Outside()
        self.runs: dict[RunId, Turn] = {}
        self.schedule = schedule
        self.trouble = Trouble(schedule, self.timeline)
        self.server = SimulatedServer(self.timeline, shared_database(), seed)
        self.server.committed = self._committed
        self.server.noted = self._note
        self.limits = LIMITS
        self.plans = plans_of(seed)
        self._unseen: dict[str, Turn] = {}
        self._found: list[str] = []
        self._readers: dict[str, LiveReader] = {}
        self._is_over = False
        self._trace = hashlib.blake2b()
        self.ids = NumberedIds()
        turns = by_name(self.plans)
        self.model = SimulatedModel(turns, self.outside, schedule, self._rng("model"))
        mailer = SimulatedMailServer(self.outside, schedule, self._rng("mail"), self.timeline)
        clocks = {one.process: one for one in schedule if isinstance(one, Clock)}
        self.processes = [
            Process(
                number,
                self.timeline,
                self.server,
                self.trouble,
                self._rng(f"process {number}"),
                clocks.get(number),
                lambda process: services_of(process, self.model, SHOP, self.ids, LIMITS),
                mailer,
            )
            for number in range(PROCESSES)
        ]
        self._client = Client(self, self._rng("client"))
        self._person = Person(self, self._rng("person"))

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{name} {self.seed}")

    def run(self) -> Report:
        for process in self.processes:
            self.timeline.at(process.number * 0.3, process.start)
        for fault in self.schedule:
            self._schedule(fault)
        self._client.start()
        self._person.start()
        self.timeline.at(POLL_INTERVAL_S, self._look)
        if not self.timeline.run(until=lambda: self._is_over, end=END_S):
            self._found.append(f"not over at {END_S:g} s")
        self._end_processes()
        self._check()
        return Report(
            self.seed,
            self.schedule,
            tuple(dict.fromkeys([*self._found, *self.timeline.faults])),
            self._trace.hexdigest(),
            self.timeline.now,
        )

    def _schedule(self, fault: Fault) -> None:
        if isinstance(fault, Signal):
            self.timeline.at(fault.at_s, self.processes[fault.process].signal, fault)
        for one in windows((fault,), "failover"):
            self.timeline.at(one.at_s, self.server.disconnect_all)
        for one in windows((fault,), "disk full"):
            self.timeline.at(one.at_s, self._fill, True)
            self.timeline.at(one.at_s + one.for_s, self._fill, False)

    def _fill(self, is_full: bool) -> None:
        self.server.is_full = is_full

    def _look(self) -> None:
        """Whether everything is done."""
        [(open_runs,)] = self.server.look("SELECT count(*) FROM runs WHERE finished_at IS NULL")
        [(mails,)] = self.server.look(
            "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL"
        )
        self._is_over = self._client.is_done and not open_runs and not mails
        self.timeline.later(POLL_INTERVAL_S, self._look)

    def _end_processes(self) -> None:
        for process in self.processes:
            process.end()
        over = self.timeline.run(
            until=lambda: all(one.is_over for one in self.processes),
            end=self.timeline.now + STOP_S,
        )
        if not over:
            names = [one.name for one in self.processes if not one.is_over]
            self._found.append(f"processes {names} did not end within {STOP_S:g} s")

    def _check(self) -> None:
        journal = Journal(self.server, self.runs, self.outside)
        fired = [at_s for at_s, _ in self.trouble.fired]
        excuses = Excuses([*fired, *self.outside.faults_s])
        self._found += violations(journal, excuses)
        for reader in self._readers.values():
            self._found += reader.violations()

    # --- what happens in it -------------------------------------------------------------------

    def expect(self, turn: Turn) -> None:
        """Record that a process is about to start a run; its request key is the turn's name."""
        self._unseen[turn.name] = turn

    def run_of(self, turn: Turn) -> RunId | None:
        return next((run for run, one in self.runs.items() if one is turn), None)

    def _see(self) -> None:
        for name, turn in list(self._unseen.items()):
            for thread, ordinal in self.server.look(
                "SELECT thread_id, ordinal FROM idempotency_keys WHERE request_key = ?", name
            ):
                del self._unseen[name]
                self.started(RunId(thread, ordinal), turn)

    def started(self, run: RunId, turn: Turn) -> None:
        """Record that a client has started a run."""
        self.runs[run] = turn
        if turn.stream and run.thread not in self._readers:
            self._readers[run.thread] = LiveReader(self.server, run.thread)

    def begun(self, tool: str, item: str) -> None:
        """Record that a call outside the database begins now."""
        assert self.timeline.current is not None
        process: Process = self.timeline.current.process
        name = ".".join(item.split(".")[:2])
        run = next(run for run, turn in self.runs.items() if turn.name == name)
        lease = self._lease_of(process, run)
        start = Start(item, tool, run, process.name, self.timeline.now, lease)
        self.outside.starts[item].append(start)
        self._note(f"{start}")

    def _lease_of(self, process: Process, run: RunId) -> str:
        """Return the server's state of the lease under which a process begins a call."""
        [(token, until, finished)] = self.server.look(
            "SELECT lease_token, lease_until, finished_at FROM runs"
            " WHERE thread_id = ? AND ordinal = ?",
            run.thread,
            run.ordinal,
        )
        if finished is not None:
            return "given back: the run is over"
        if token not in process.store.tokens[run]:
            return f"taken over ({token})"
        return "live" if until > self.server.now_us() else "run out"

    def _committed(self, threads: set[str]) -> None:
        self._see()
        for thread in sorted(threads):
            self._note(f"{self.timeline.now} {thread}")
            self._person.hear(thread)
            if thread in self._readers:
                try:
                    self._readers[thread].look()
                except AssertionError as error:
                    self._found.append(f"thread {thread} cannot be followed: {error!r}")

    def _note(self, line: str) -> None:
        self._trace.update(line.encode())

    def bury(self) -> None:
        """Free all coroutines that have not ended."""
        for process in self.processes:
            process.bury()
        bury([*self._client.loop.kill(), *self._person.loop.kill()])


def simulate(seed: int, schedule: Schedule | None = None, *, log: int | None = None) -> Report:
    """Run a seed with its own faults, or with others; `log` is a level to print its log at."""
    simulation = Simulation(seed, schedule_of(seed) if schedule is None else schedule)
    enter(simulation)
    try:
        with patched(simulation.timeline, seed), logged(simulation.timeline, log):
            report = simulation.run()
            simulation.bury()
        return report
    finally:
        leave()
