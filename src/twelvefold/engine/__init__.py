"""Drives runs: load, decide, perform, commit.

Other packages import these names from here.
"""

from twelvefold.engine.commands import (
    INPUT_BYTES,
    RUN_ENTRIES,
    RunRequest,
    answer,
    answer_below,
    answer_question,
    cancel,
    check_room,
    delete_thread,
    enqueue_run,
    fail_run,
    fork_at,
    send_signal,
    settle,
    start_run,
    take,
)
from twelvefold.engine.drive import DrainGuard, Outcome
from twelvefold.engine.gate import Gate, serves_only_new
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.lease import (
    RENEWALS_PER_LEASE,
    Clock,
    LeaseGuard,
    LeaseRenewer,
    RenewalThread,
    RenewedLease,
    Renewer,
)
from twelvefold.engine.memory import (
    RUN_BYTES,
    BudgetExhausted,
    GrowingListener,
    MemoryBudget,
    Reservation,
)
from twelvefold.engine.pricing import find_prices
from twelvefold.engine.resources import Resources
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.run_shares import RunSlot, SharesTaken
from twelvefold.engine.services import CACHE_SHARE, Preparation, Services, ThreadCache
from twelvefold.engine.shares import ANONYMOUS, LoopShares
from twelvefold.engine.uninterrupted import EXIT_S, ExitLimit, run_uninterrupted

__all__ = [
    "ANONYMOUS",
    "CACHE_SHARE",
    "EXIT_S",
    "INPUT_BYTES",
    "RENEWALS_PER_LEASE",
    "RUN_BYTES",
    "RUN_ENTRIES",
    "BudgetExhausted",
    "Clock",
    "DrainGuard",
    "ExitLimit",
    "Gate",
    "GrowingListener",
    "HeldRun",
    "LeaseGuard",
    "LeaseRenewer",
    "LoopShares",
    "MemoryBudget",
    "Outcome",
    "Preparation",
    "RenewalThread",
    "RenewedLease",
    "Renewer",
    "Reservation",
    "Resources",
    "RunRequest",
    "RunSlot",
    "Services",
    "SharesTaken",
    "ThreadCache",
    "answer",
    "answer_below",
    "answer_question",
    "cancel",
    "check_room",
    "delete_thread",
    "enqueue_run",
    "fail_run",
    "find_prices",
    "fork_at",
    "retry_unavailable",
    "run_uninterrupted",
    "send_signal",
    "serves_only_new",
    "settle",
    "start_run",
    "take",
]
