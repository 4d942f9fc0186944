"""The network between a process and the server: latencies, and the faults of the schedule."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tests.simulation.faults import AtStatement, During, Schedule
from tests.simulation.server import (
    DISK_FULL,
    LOST,
    TOO_MANY,
    UNREACHABLE,
    Clock,
    Done,
    Session,
    SimulatedServer,
    server_error,
)
from twelvefold.services.store.connection import DriverResult

FOREIGN = "Transport does not expose socket instance"
"""The error of asyncmy when uvloop has closed a connection."""
ROW_POLL_S = 0.01
"""How often a statement that waits for a lock looks for its answer, in virtual time."""
Answer = tuple[list[DriverResult], BaseException | None]
"""The results of a packet's statements up to the first error, and the error."""


class Sent(NamedTuple):
    """A statement of a packet; `send` executes it on the server."""

    name: str
    send: Callable[[Done], None]


class Link(Protocol):
    """How a connection reaches the server."""

    server: SimulatedServer

    async def connect(self, session: Session) -> None:
        """Open a connection. Raises what the driver raises."""
        ...

    async def ask(self, session: Session, packet: Sequence[Sent]) -> Answer:
        """Send statements in one packet and wait for the answer."""
        ...

    def close(self, session: Session) -> None:
        """Close a connection; whatever was sent before is executed."""
        ...

    def now_us(self) -> int:
        """The client's clock."""
        ...


class Direct:
    """Executes at once: for reads of the simulation from outside."""

    def __init__(self, server: SimulatedServer) -> None:
        self.server = server

    async def connect(self, session: Session) -> None:
        self.server.connect(session)

    async def ask(self, session: Session, packet: Sequence[Sent]) -> Answer:
        results: list[DriverResult] = []
        for one in packet:
            answers: list[DriverResult | BaseException] = []
            one.send(answers.append)
            while not answers:  # the statement waits for a row that a transaction has locked
                await asyncio.sleep(ROW_POLL_S)
            if isinstance(answers[0], BaseException):
                return results, answers[0]
            results.append(answers[0])
        return results, None

    def close(self, session: Session) -> None:
        self.server.disconnect(session)

    def now_us(self) -> int:
        return self.server.now_us()


class Trouble:
    """The faults of a schedule that concern statements."""

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self.fired: list[tuple[float, object]] = []
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._by_place = {
            (one.statement, one.nth): one for one in schedule if isinstance(one, AtStatement)
        }
        self._windows = [one for one in schedule if isinstance(one, During)]

    def at_statement(self, name: str) -> AtStatement | None:
        """Return the fault of the statement that is sent now."""
        self._counts[name] += 1
        self._counts["any"] += 1
        fault = self._by_place.get((name, self._counts[name]))
        fault = fault or self._by_place.get(("any", self._counts["any"]))
        if fault:
            self.fired.append((self._clock.now, fault))
        return fault

    def window(self, process: int, name: str, *does: str) -> During | None:
        """Return the faults that apply now to statements of that name from that process."""
        if not self._windows:
            return None
        now = self._clock.now
        for one in self._windows:
            if (
                one.does in does
                and one.at_s <= now < one.at_s + one.for_s
                and one.process in (None, process)
                and one.statement in ("", name)
            ):
                self.fired.append((now, one))
                return one
        return None


class Network:
    """The network of one process; `kill` ends the process."""

    def __init__(
        self,
        server: SimulatedServer,
        clock: Clock,
        *,
        trouble: Trouble | None = None,
        process: int = -1,
        rng: random.Random | None = None,
        skew_us: int = 0,
        kill: Callable[[], None] = lambda: None,
    ) -> None:
        self.server = server
        self._clock = clock
        self._trouble = trouble
        self._process = process
        self._random = rng
        self._skew_us = skew_us
        self._kill = kill
        self._arrivals: dict[Session, float] = {}

    def now_us(self) -> int:
        return self.server.now_us() + self._skew_us

    async def connect(self, session: Session) -> None:
        if refused := self._refused():
            await asyncio.sleep(self._latency_s())
            raise server_error(*refused)
        self.server.connect(session)
        self._arrivals[session] = 0.0

    def _refused(self) -> tuple[int, str] | None:
        if self._trouble is None:
            return None
        if self._trouble.window(self._process, "connect", "failover"):
            return UNREACHABLE
        window = self._trouble.window(self._process, "connect", "account limit")
        # A pool has connections already, often enough.
        return TOO_MANY if window and self._random and self._random.random() < 0.5 else None

    def close(self, session: Session) -> None:
        arrival = self._arrivals.pop(session, None)
        if arrival is not None:
            delay_s = max(arrival - self._clock.now, 0) + self._latency_s()
            self._clock.later(delay_s, self.server.disconnect, session)

    def close_all(self, after_s: float = 0.0) -> None:
        """Close all connections, as the kernel does for a killed process, so much later."""
        for session, arrival in self._arrivals.items():
            delay_s = max(arrival - self._clock.now, 0) + after_s + self._latency_s()
            self._clock.later(delay_s, self.server.disconnect, session)
        self._arrivals.clear()

    async def ask(self, session: Session, packet: Sequence[Sent]) -> Answer:
        loop = asyncio.get_running_loop()
        asked = _Asked(self, session, packet, loop)
        asked.begin()
        answer: Answer = await asked.future
        return answer

    def fault_at(self, name: str) -> AtStatement | None:
        return self._trouble.at_statement(name) if self._trouble else None

    # --- the way of one packet -------------------------------------------------------------

    def _latency_s(self) -> float:
        return 0.0 if self._random is None else 0.0002 + 0.004 * self._random.random()

    def _delay_s(self, packet: Sequence[Sent], does: str) -> float:
        delay_s = self._latency_s()
        if self._trouble is None:
            return delay_s
        for name in dict.fromkeys(one.name for one in packet):
            if window := self._trouble.window(self._process, name, does):
                return delay_s + window.at_s + window.for_s - self._clock.now
        return delay_s

    def _arrives_in(self, session: Session, delay_s: float) -> float:
        """Return when a statement arrives: after the earlier ones of the same connection."""
        arrival = max(self._clock.now + delay_s, self._arrivals.get(session, 0.0))
        self._arrivals[session] = arrival
        return arrival - self._clock.now


class _Asked:
    """A packet on its way to the server, and its answer on the way back.

    A fault is one of a statement: the statements before it are executed, those behind it only if
    neither the connection nor the statement has failed. A process that is killed has sent all.
    """

    def __init__(
        self, network: Network, session: Session, packet: Sequence[Sent], loop: Any
    ) -> None:
        self.future: asyncio.Future[Answer] = loop.create_future()
        self._network = network
        self._session = session
        self._packet = packet
        self._loop = loop
        self._faults = [network.fault_at(one.name) for one in packet]
        self._results: list[DriverResult] = []
        self._late_s = 0.0
        self._is_killed = False

    def begin(self) -> None:
        network, first = self._network, self._faults[0]
        delay_s = network._delay_s(self._packet, "hang")
        if first and first.does == "cut before":
            network.close(self._session)
            network._clock.later(delay_s, self._deliver, server_error(*LOST))
            return
        if first and first.does == "kill before":
            network._kill()
            return
        delay_s += sum(one.for_s for one in self._faults if one and one.does == "arrives late")
        network._clock.later(network._arrives_in(self._session, delay_s), self._execute)

    def _execute(self) -> None:
        """Execute the next statement."""
        server, fault = self._network.server, self._faults[len(self._results)]
        match fault.does if fault else "":
            case "cut before":
                self._cut(server_error(*LOST))
            case "deadlock" if not self._session.is_closed:
                server.deadlock(self._session, self._done)
            case "disk full" if not self._session.is_closed:
                self._done(server_error(*DISK_FULL))
            case _:
                self._packet[len(self._results)].send(self._done)

    def _cut(self, error: BaseException) -> None:
        self._network.server.disconnect(self._session)
        self._answer(error)

    def _done(self, answer: DriverResult | BaseException) -> None:
        fault = self._faults[len(self._results)]
        match fault.does if fault else "":
            case "cut after":
                self._cut(server_error(*LOST))
                return
            case "foreign error":
                self._cut(RuntimeError(FOREIGN))
                return
            case "kill before" | "kill after":
                self._is_killed = True
                self._network._kill()
            case "answered late" if fault:
                self._late_s += fault.for_s
        if isinstance(answer, BaseException):
            self._answer(answer)
            return
        self._results.append(answer)
        if len(self._results) == len(self._packet):
            self._answer(None)
        else:
            self._execute()

    def _answer(self, error: BaseException | None) -> None:
        if self._is_killed:
            return
        network = self._network
        delay_s = network._delay_s(self._packet, "answers hang") + self._late_s
        network._clock.later(delay_s, self._deliver, error)

    def _deliver(self, error: BaseException | None) -> None:
        # The answer comes in through the process's own event loop, which may be blocked.
        self._loop.call_soon(_set, self.future, (self._results, error))


def _set(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def windows(schedule: Schedule, does: str) -> Sequence[During]:
    return [one for one in schedule if isinstance(one, During) and one.does == does]
