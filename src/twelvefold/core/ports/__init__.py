"""The ports: Protocols of the backing services that the engine needs.

`twelvefold.services` implements each of them. `ReadOnly`, `Transaction`, their `Sync…` forms,
`Principal` and `CallKey` are also the types by which a tool declares what it needs.
"""

from typing import Protocol

from twelvefold.core.ids import ThreadId
from twelvefold.core.ports.budgets import BudgetStore
from twelvefold.core.ports.keys import DEFAULT_SCOPES, SCOPES, ApiKey, FoundKey, KeyStore
from twelvefold.core.ports.listener import Listener, NullListener
from twelvefold.core.ports.maintenance import MaintenanceStore, Release, Schema
from twelvefold.core.ports.model import KnownItems, Model, ModelReply, ModelRequest, ToolSpec
from twelvefold.core.ports.operations import (
    FoundRuns,
    MessageState,
    OperatedRun,
    OperationStore,
    RunFilter,
)
from twelvefold.core.ports.outbox import Mail, Mailer, OutboxMessage, OutboxStore
from twelvefold.core.ports.processes import Process, ProcessKind, ProcessStore
from twelvefold.core.ports.questions import OpenQuestion, QuestionStore
from twelvefold.core.ports.queue import QueueStore
from twelvefold.core.ports.run_records import (
    OVER,
    Append,
    CallKey,
    Claim,
    IdempotentRequest,
    Lease,
    NewRun,
    Principal,
    RunRecord,
    RunStatus,
    WaitCondition,
    WaitingRun,
    WaitingWork,
)
from twelvefold.core.ports.runs import RunStore
from twelvefold.core.ports.shares import ShareStore, TokenGrant, owner_of
from twelvefold.core.ports.sql import (
    BlockingWait,
    ReadOnly,
    Row,
    StepTransaction,
    SyncReadOnly,
    SyncTransaction,
    ToolReadOnly,
    Transaction,
)
from twelvefold.core.ports.statistics import OutboxCount, PoolCount, RunCount, StatisticsStore
from twelvefold.core.ports.thread_records import (
    Delta,
    JournalDelta,
    LatestRun,
    ListedThread,
    Segment,
    ThreadHead,
    ThreadRecord,
)
from twelvefold.core.ports.threads import ThreadStore
from twelvefold.core.ports.traces import TraceExport, TraceStore
from twelvefold.core.ports.usage import (
    FindPrice,
    UsageFilter,
    UsageGroup,
    UsageStore,
    UsageSum,
    no_price,
)
from twelvefold.core.ports.waits import SentSignal, SignalKey, WaitState, WaitStore
from twelvefold.core.ports.wake_ups import NoSubscription, NoWakeUps, WakeUps, WakeUpSubscription

__all__ = [
    "DEFAULT_SCOPES",
    "OVER",
    "SCOPES",
    "ApiKey",
    "Append",
    "BlockingWait",
    "BudgetStore",
    "CallKey",
    "Claim",
    "Delta",
    "FindPrice",
    "FoundKey",
    "FoundRuns",
    "IdempotentRequest",
    "Ids",
    "JournalDelta",
    "KnownItems",
    "LatestRun",
    "Lease",
    "ListedThread",
    "Listener",
    "Mail",
    "Mailer",
    "MessageState",
    "Model",
    "ModelReply",
    "ModelRequest",
    "NewRun",
    "NoSubscription",
    "NoWakeUps",
    "NullListener",
    "OpenQuestion",
    "OperatedRun",
    "OperationStore",
    "OutboxCount",
    "OutboxMessage",
    "PoolCount",
    "Principal",
    "Process",
    "ProcessKind",
    "ProcessStore",
    "QuestionStore",
    "ReadOnly",
    "Release",
    "Row",
    "RunCount",
    "RunFilter",
    "RunRecord",
    "RunStatus",
    "Schema",
    "Segment",
    "SentSignal",
    "ShareStore",
    "SignalKey",
    "StatisticsStore",
    "StepTransaction",
    "Store",
    "SyncReadOnly",
    "SyncTransaction",
    "ThreadHead",
    "ThreadRecord",
    "TokenGrant",
    "ToolReadOnly",
    "ToolSpec",
    "TraceExport",
    "TraceStore",
    "Transaction",
    "UsageFilter",
    "UsageGroup",
    "UsageStore",
    "UsageSum",
    "WaitCondition",
    "WaitState",
    "WaitStore",
    "WaitingRun",
    "WaitingWork",
    "WakeUpSubscription",
    "WakeUps",
    "no_price",
    "owner_of",
]


class Store(
    RunStore,
    ThreadStore,
    QueueStore,
    WaitStore,
    QuestionStore,
    BudgetStore,
    KeyStore,
    ShareStore,
    OutboxStore,
    OperationStore,
    MaintenanceStore,
    StatisticsStore,
    ProcessStore,
    UsageStore,
    TraceStore,
    Protocol,
):
    """The journal, its leases and the business tables beside it, in one database.

    Every method may raise StoreUnavailable (repeat it) or StoreRefused (do not).
    """


class Ids(Protocol):
    """A source of new ids."""

    def thread(self) -> ThreadId:
        """Return the id of a thread that begins a family."""
        ...

    def thread_in_family(self, of: ThreadId) -> ThreadId:
        """Return the id of a new thread in the family of another one."""
        ...
