"""Values of the ports of runs and of the queue: runs, leases, and what one append changes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn

from msgspec import Struct

from twelvefold.core.events import FinalStatus, Usage
from twelvefold.core.ids import LeaseToken, RunId, ThreadId

RunStatus = Literal["queued", "running", "waiting"] | FinalStatus
OVER: tuple[FinalStatus, ...] = ("completed", "incomplete", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Principal:
    """The user or service that a run acts for; it comes from the API key, never from the model.

    A tool receives it through a parameter of this type, which the model does not see. `key_id`
    is the API key of a request, "" without one; a tool does not get it.

    Example:
        from twelvefold import Principal, ReadOnly, tool

        @tool
        async def my_orders(db: ReadOnly, who: Principal) -> list[dict[str, object]]:
            \"""List the caller's orders.\"""
            return await db.fetch_all("select id from orders where owner = :owner", owner=who.id)
    """

    id: str
    key_id: str = field(default="", compare=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> NoReturn:
        """Refuse to be a part of what a model writes: it would choose whom it acts for."""
        raise TypeError("the engine fills a Principal, never the model")


class CallKey(str):
    """An idempotency key of a tool call, the same for every attempt at the call.

    A tool that receives it passes it to a service that acts once for each key.

    Example:
        from twelvefold import CallKey, tool

        @tool
        async def charge(key: CallKey, card: str, cents: int) -> str:
            \"""Charge a card.\"""
            return f"charged {cents} to {card} once, under the key {key}"
    """

    __slots__ = ()


class Lease(Struct, frozen=True):
    """The right to write to a run; a token that another process has replaced writes nothing."""

    run: RunId
    token: LeaseToken


class Claim(NamedTuple):
    """A claimed run. `interrupted`: its last holder never gave it back.

    `attempts` counts the counted claims since its thread's last entry, including this one. `usage`
    is what the run has cost, including replies that are not in the journal. `thread_size` is the
    approximate number of bytes of its thread, 0 if it is not known.
    """

    lease: Lease
    interrupted: bool
    cancel_asked: bool
    attempts: int
    usage: Usage = Usage()
    thread_size: int = 0


class WaitingRun(NamedTuple):
    """A run that any process may claim. `attempts`: how many processes claimed it and died.

    `turn_us` orders the runs of a principal: the time since which a run waits, less the head start
    of its priority. `key_id` and `priority` are those of the API key that started it.
    """

    run: RunId
    attempts: int
    principal: str
    turn_us: int = 0
    key_id: str = ""
    priority: int = 0


class WaitingWork(NamedTuple):
    """The work that waits for a worker.

    `runs` are in the order of their principals, each principal's longest-waiting first. `end` is
    the last principal whose queued runs were read, "" if no principal follows.
    """

    runs: Sequence[WaitingRun] = ()
    end: str = ""
    mail_is_due: bool = False


class IdempotentRequest(Struct, frozen=True):
    """A request that may be repeated: its Idempotency-Key, and the SHA-256 of its body."""

    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class NewRun:
    """The row of a new run. With `thread_head` 0 it makes the thread, unless `thread_exists`.

    With `forked_from` it makes the thread as a fork of that one, at `thread_head`. A thread without
    a workflow ("") gets `workflow`. The caller chooses the `token` of the lease, so a repeated
    start has no further effect. `thread_size`: bytes of all entries up to `thread_head`. `key_id`
    and `priority` are those of the caller's API key.
    """

    run: RunId
    token: LeaseToken
    thread_head: int
    principal: str
    workflow: str
    release: str
    background: bool = False
    request: IdempotentRequest | None = None
    thread_exists: bool = False
    forked_from: ThreadId | None = None
    thread_size: int = 0
    key_id: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as stored. Times are microseconds since 1970 by the server's clock.

    Its entries are at the positions `began` to `last_position`, None where no later run bounds
    them; a list of runs has neither. `thread_size` is the `size` of its `ThreadHead`.
    """

    run: RunId
    status: RunStatus
    principal: str
    workflow: str
    release: str
    usage: Usage
    error: str
    created_at_us: int
    finished_at_us: int | None
    leased: bool
    cancel_asked: bool
    background: bool = False
    began: int = field(default=0, compare=False)
    last_position: int | None = field(default=None, compare=False)
    thread_size: int | None = None


class WaitCondition(NamedTuple):
    """How a run begins to wait.

    `due_us`: when time continues it, in microseconds since 1970 by the server's clock; None: never.
    `wakes`: the wake-ups that its holder knows of. If there are others, the run is queued instead.
    """

    due_us: int | None = None
    wakes: int | None = None


NO_CONDITION = WaitCondition()
"""Only a person continues the run."""


class Append(Struct, frozen=True):
    """The changes of one step's commit: `adds` entries after `head`, and the run's row.

    `status` "running" keeps the lease and extends it to `lease_s`, if the step took long; any other
    gives it back. `usage` None leaves the usage as it is. `first_delta`, unless 0: deltas at `head`
    + 1 from this number on are deleted, because the entry holds them. `closes_deltas`: adds a
    "restarted" after the deltas at `head` + 1, so that a process that has lost the run cannot add
    another; the append is repeated if one comes first. `closes_questions`: removes the questions of
    the run, which ends without their answers. `request` is recorded for `principal`, which may
    repeat it. `size` is the bytes of all entries up to `head`; None leaves it as it is. `wait` is
    for the status "waiting". `parent`: the run that is woken when this one ends, or, with `asks`,
    when it begins to wait for a person. `workflow` and `principal` are those of the run. `cancels`:
    runs that get a cancel request in the same commit. `traced`: adds the export of the run's spans,
    unless the status is "running".
    """

    lease: Lease
    head: int
    adds: int
    status: RunStatus = "running"
    usage: Usage | None = None
    error: str = ""
    first_delta: int = 0
    closes_deltas: bool = False
    closes_questions: bool = False
    lease_s: float = 30.0
    request: IdempotentRequest | None = None
    principal: str = ""
    size: int | None = None
    wait: WaitCondition = NO_CONDITION
    parent: RunId | None = None
    asks: bool = False
    workflow: str = ""
    cancels: tuple[RunId, ...] = ()
    traced: bool = False
