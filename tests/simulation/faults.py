"""Faults as plain values: a schedule of them is printed as Python, and shrunk one by one.

`nth` counts from 1 over all processes. Times are virtual seconds; servers answer in milliseconds.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FAULTY_S = 60.0
"""Faults begin before this time."""
LEASE_S = 6.0
PROCESSES = 3

AtStatementDoes = Literal[
    "cut before",  # the connection ends; the server never gets the statement
    "cut after",  # the server executes the statement, then the connection ends: the answer is lost
    "arrives late",
    "answered late",
    "deadlock",  # the server rolls the transaction back
    "disk full",
    "foreign error",  # the driver raises an exception of its own, after the statement was executed
    "kill before",
    "kill after",  # the process is killed once the server has executed the statement
]
DuringDoes = Literal[
    "hang",  # statements arrive at the end
    "answers hang",  # answers arrive at the end
    "failover",  # connections end, no new ones
    "account limit",  # half of the new connections are refused
    "disk full",
]
SignalDoes = Literal[
    "kill",
    "unplug",  # killed, and the server notices after `for_s`
    "pause",  # SIGSTOP, SIGCONT after `for_s`
    "block",  # its event loop only
    "terminate",  # SIGTERM
]
ModelDoes = Literal["error", "late", "lost", "rejected"]
MailDoes = Literal["temporary", "permanent", "lost", "slow"]


@dataclass(frozen=True)
class AtStatement:
    """A fault of the nth statement of this name ("any": of all)."""

    statement: str
    nth: int
    does: AtStatementDoes
    for_s: float = 0.0


@dataclass(frozen=True)
class During:
    """A fault from `at_s` on for `for_s`, of all processes and statements unless some are named."""

    at_s: float
    for_s: float
    does: DuringDoes
    process: int | None = None
    statement: str = ""


@dataclass(frozen=True)
class Signal:
    """A fault of a process."""

    at_s: float
    process: int
    does: SignalDoes
    for_s: float = 0.0


@dataclass(frozen=True)
class AtModel:
    """A fault of the nth reply."""

    nth: int
    does: ModelDoes
    for_s: float = 0.0


@dataclass(frozen=True)
class AtMail:
    """A fault of the nth mail."""

    nth: int
    does: MailDoes
    for_s: float = 0.0


@dataclass(frozen=True)
class Clock:
    """A process's clocks: the monotonic one runs at `rate`, the other is off by `skew_s`."""

    process: int
    rate: float
    skew_s: float


Fault = AtStatement | During | Signal | AtModel | AtMail | Clock
Schedule = tuple[Fault, ...]

STATEMENTS = {
    "fence_thread": 12,
    "fence_run": 10,
    "insert_event": 12,
    "commit": 40,
    "tool": 6,
    "claim": 8,
    "renew": 10,
    "settle_run": 6,
    "events": 12,
    "release": 3,
    "claim_message": 3,
    "message_sent": 3,
    "due_messages": 10,
    "waiting_runs": 30,
    "any": 200,
}
"""The statements that have faults, and about how often a simulation executes each."""

OFTEN = (
    "fence_thread",
    "fence_run",
    "insert_event",
    "commit",
    "commit",
    "commit",
    "tool",
    "tool",
    "claim",
)


def schedule_of(seed: int) -> Schedule:
    """Return the faults of a seed: a few groups of one or more."""
    rng = random.Random(f"faults {seed}")
    stories = [_STORIES[rng.randrange(len(_STORIES))](rng) for _ in range(rng.randint(1, 4))]
    return tuple(fault for story in stories for fault in story)


def _statement(rng: random.Random) -> Sequence[Fault]:
    name = rng.choice([*STATEMENTS, *OFTEN])
    does: AtStatementDoes = rng.choice(
        [
            *("cut before", "cut after", "cut after", "arrives late", "answered late"),
            *("deadlock", "disk full", "foreign error", "kill before", "kill after"),
        ]
    )
    late = "late" in does
    return [AtStatement(name, rng.randint(1, STATEMENTS[name]), does, _long(rng) if late else 0.0)]


def _late_commit(rng: random.Random) -> Sequence[Fault]:
    """Return a COMMIT that is answered late while renewals hang: its process has lost the run."""
    nth = rng.randint(1, STATEMENTS["commit"])
    window = During(_when(rng), rng.uniform(1, 4) * LEASE_S, "hang", statement="renew")
    late = AtStatement("commit", nth, "answered late", round(rng.uniform(1, 3) * LEASE_S, 2))
    return [_rounded(window), late]


def _window(rng: random.Random) -> Sequence[Fault]:
    does: DuringDoes = rng.choice(
        [
            *("hang", "hang", "answers hang", "answers hang"),
            *("failover", "account limit", "account limit", "disk full", "disk full"),
        ]
    )
    named = does in ("hang", "answers hang")
    process = rng.randrange(PROCESSES) if named and rng.random() < 0.6 else None
    statement = rng.choice(["", "", "renew", "commit", "fence_thread"]) if named else ""
    return [_rounded(During(_when(rng), _long(rng), does, process, statement))]


def _signal(rng: random.Random) -> Sequence[Fault]:
    does: SignalDoes = rng.choice(
        ["kill", "kill", "unplug", "pause", "pause", "block", "terminate"]
    )
    return [Signal(_when(rng), rng.randrange(PROCESSES), does, _long(rng))]


def _kills(rng: random.Random) -> Sequence[Fault]:
    return [Signal(_when(rng), rng.randrange(PROCESSES), "kill") for _ in range(rng.randint(2, 5))]


def _model(rng: random.Random) -> Sequence[Fault]:
    does: ModelDoes = rng.choice(["error", "late", "lost"])
    nths = rng.sample(range(1, 15), rng.randint(1, 2))
    return [AtModel(nth, does, _long(rng)) for nth in nths]


def _mail(rng: random.Random) -> Sequence[Fault]:
    does: MailDoes = rng.choice(["temporary", "permanent", "lost", "slow"])
    return [AtMail(rng.randint(1, 3), does, round(rng.uniform(1, 120), 1))]


def _clock(rng: random.Random) -> Sequence[Fault]:
    rate = round(rng.uniform(0.999, 1.001), 5)
    return [Clock(rng.randrange(PROCESSES), rate, round(rng.uniform(-1e5, 1e5)))]


_STORIES = (
    *(_statement, _statement, _statement, _statement, _late_commit, _late_commit),
    *(_window, _window, _signal, _signal, _signal, _kills, _model, _mail, _clock),
)


def _when(rng: random.Random) -> float:
    # Early times are more likely: most work is done there.
    return round(FAULTY_S * rng.random() ** 2, 2)


def _long(rng: random.Random) -> float:
    return round(rng.choice([0.2, 0.5, 1, 1.5, 2, 3, 6]) * LEASE_S * rng.uniform(0.7, 1.3), 2)


def _rounded(one: During) -> During:
    return During(one.at_s, round(one.for_s, 2), one.does, one.process, one.statement)
