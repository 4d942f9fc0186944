"""What goes in and out of the ports: plain values, with their units and what their absence means.

`Principal` and `CallKey` are also what a tool asks for by type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from twelvefold.core.events import Entry, FinalStatus, Item, ReplyEnd, Usage, size_of
from twelvefold.core.ids import LeaseToken, RunId, ThreadId

Row = dict[str, Any]
NO_USAGE = Usage()
RunStatus = Literal["queued", "running", "waiting"] | FinalStatus
OVER: tuple[FinalStatus, ...] = ("completed", "incomplete", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf a run acts; it comes from the caller's key, never from the model."""

    id: str


class CallKey(str):
    """A key that stays the same however often this call is tried, for effects elsewhere."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a run; a token that another process has replaced writes nothing."""

    run: RunId
    token: LeaseToken


class Claim(NamedTuple):
    """A run that was taken up. `interrupted`: its last holder never gave it back.

    `attempts`: how often that has happened since its thread's last entry, this time included,
    without its being given back uncounted. `usage`: what the run has cost by now, replies that are
    not in the journal included. `thread_size` is about the bytes of its thread, 0 if not known.
    """

    lease: Lease
    interrupted: bool
    cancel_asked: bool
    attempts: int
    usage: Usage = Usage()
    thread_size: int = 0


class WaitingRun(NamedTuple):
    """A run that any process may claim. `attempts`: how many processes claimed it and died."""

    run: RunId
    attempts: int
    principal: str


class WaitingWork(NamedTuple):
    """What waits for a worker.

    `runs` are in the order of their principals, each principal's longest-waiting first. `end` is
    the last principal whose queued runs were read, "" when there are none behind it.
    """

    runs: Sequence[WaitingRun] = ()
    end: str = ""
    mail_is_due: bool = False


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is written when a run starts. `thread_head` 0 makes the thread, unless `thread_exists`.

    With `forked_from` the thread is made as a fork of that one, at `thread_head`.
    A thread that is of no workflow yet ("") becomes one of `workflow`. `token` is that of the
    lease, chosen by the caller so that starting twice is starting once. `thread_size`: the bytes
    of all entries up to `thread_head`.
    """

    run: RunId
    token: LeaseToken
    thread_head: int
    principal: str
    workflow: str
    release: str
    background: bool = False
    request: "IdempotentRequest | None" = None
    thread_exists: bool = False
    forked_from: ThreadId | None = None
    thread_size: int = 0


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request that its caller may send again: the caller's key, and the SHA-256 of its body."""

    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the operator sees it. Times are microseconds since 1970 by the server's clock.

    Its entries are behind `began` - 1 and up to `last_position`, None where no later run bounds
    them; both are of a single run alone, not of one in a list. `thread_size` is the `size` of its
    thread's `ThreadHead`.
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


@dataclass(frozen=True, slots=True)
class ThreadHead:
    """A thread without its journal. `created_at_us` is microseconds since 1970.

    `forked_at` is 0 where it was not forked. `listed` says whether its principal may list and open
    it; None: an older release wrote it and it is not classified yet. `size`: about the bytes of all
    its entries, those of the threads it was forked from included, without the latest step; None
    where no release has written it yet.
    """

    id: ThreadId
    principal: str
    workflow: str
    head: int
    forked_from: ThreadId | None
    forked_at: int
    created_at_us: int
    metadata: Mapping[str, str]
    size: int | None = None
    listed: bool | None = True


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply that is not whole yet, at the position that its entry will get.

    `number` counts from 1 at each position. "restarted": what was shown there so far is void.
    """

    position: int
    number: int
    kind: Literal["text", "restarted"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class JournalDelta:
    """What has come to a thread's journal since a reader last looked, all as of one moment."""

    deltas: tuple[Delta, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has been brought to: `level` names the migration that was applied last.

    Releases from level `serves` on can work on it, whatever they know of what came later.
    """

    level: str
    serves: str

    def fits(self, level: str) -> bool:
        """Whether a release made for this level can work here."""
        return self.serves <= level <= self.level


@dataclass(frozen=True, slots=True)
class Release:
    """A release that was put in place; `serves` is the oldest level beside which it did so.

    `commit` is "" where nobody wrote it down. `at_us` is microseconds since 1970 by the server's
    clock, 0 for one that is not written yet.
    """

    id: str
    version: str
    commit: str
    level: str
    serves: str
    at_us: int = 0


SCOPES = ("runs", "approve")
"""What a key may do beside reading what is its principal's.

"runs": begin, go on with, cancel and delete. "approve": answer a call that waits for approval.
"""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: its SHA-256 in hex, never itself. Times are microseconds since 1970.

    `scopes` are among `SCOPES`.
    """

    id: str
    name: str
    principal: str
    scopes: tuple[str, ...]
    sha256: str
    created_at_us: int
    revoked_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message of the outbox. `dead_at_us`: nobody tries it again by itself."""

    id: str
    thread: str
    kind: str
    body: Mapping[str, Any]
    attempts: int
    due_at_us: int
    sent_at_us: int | None
    dead_at_us: int | None
    error: str


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread as stored, with all entries of its lineage up to `head`.

    Entries up to `forked_at` are another thread's; 0 if it was not forked.
    """

    id: ThreadId
    principal: str
    workflow: str
    head: int
    forked_at: int
    entries: tuple[Entry, ...]
    deleted: bool = False

    @property
    def size(self) -> int:
        """The length of all entries in bytes."""
        return sum(entry.size for entry in self.entries)


class Segment(NamedTuple):
    """The entries behind `after` and up to `to` that are a thread's own."""

    thread: ThreadId
    after: int
    to: int


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The last run of a thread that was not deleted.

    `responses` counts its responses: the first, and one for each time that it went on after it
    had to wait for a person.
    """

    run: RunId
    responses: int
    status: RunStatus
    cancel_asked: bool


@dataclass(frozen=True, slots=True)
class ListedThread:
    """A thread as a list shows it. `title` is "" where no user has said anything in it."""

    head: ThreadHead
    title: str
    latest: LatestRun | None


@dataclass(frozen=True, slots=True)
class Append:
    """What one step's commit does to the run: so many entries on top of `head`, and its status.

    `status` "running" keeps the lease, from the end of a step that took long for another
    `lease_s`; any other gives it back. `usage` None stays as it was. Deltas at `head` + 1 from
    `first_delta` on are removed, unless it is 0: they are in the entry now. `closes_deltas`: a
    "restarted" is put behind those at `head` + 1, as their first if there is none, so that a
    process that has lost the run cannot add one any more; if one gets in its way, try again.
    `request` is noted as `principal`'s, who may make it again. `size` is the bytes of all entries
    up to `head`, for `ThreadHead`; None leaves it as it was.
    """

    lease: Lease
    head: int
    adds: int
    status: RunStatus = "running"
    usage: Usage | None = None
    error: str = ""
    first_delta: int = 0
    closes_deltas: bool = False
    lease_s: float = 30.0
    request: IdempotentRequest | None = None
    principal: str = ""
    size: int | None = None


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = True

    @cached_property
    def size(self) -> int:
        """About how many bytes of JSON it is; looked at before each request."""
        return size_of(self.description) + size_of(str(self.parameters))


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request for a reply: the conversation as items in the Responses API's shape."""

    instructions: str
    items: tuple[Item, ...]
    tools: tuple[ToolSpec, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """`tool_choice`, `temperature` and the like, in the Responses API's shape; they win over the
    settings."""
    hops: int = 0


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A whole reply. `request_hash` is the SHA-256, in hex, of the body that was sent.

    `usage` is what all tries took, `lost` the part of it that those took that broke off.
    """

    items: tuple[Item, ...]
    usage: Usage
    model: str
    request_hash: str
    ended: ReplyEnd = "completed"
    lost: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that leaves. `id` makes its Message-ID, so that one sent twice is one."""

    id: str
    to: str
    subject: str
    text: str
    html: str = ""
