"""Claim a run, give a claim back, and end a run that no process drives."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain, repeat
from typing import Any, Literal

from msgspec import structs

from twelvefold.core import (
    OVER,
    Call,
    Claim,
    Event,
    NullListener,
    OutcomeUnknown,
    RunFinished,
    RunId,
    RunStatus,
    Thread,
    ThreadId,
    fold,
    in_doubt,
)
from twelvefold.engine.commands.step_under_way import explain_wait
from twelvefold.engine.commit import write
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.lease import new_lease_token
from twelvefold.engine.services import Services
from twelvefold.engine.uninterrupted import run_uninterrupted
from twelvefold.errors import (
    Conflict,
    RequestError,
    ServiceFault,
    StaleRun,
    StoreUnavailable,
    TooLate,
)
from twelvefold.observe import metrics

_NO_DELTAS_AFTER = 2**62
"""A position that no journal reaches."""
LOCK_WAIT_S = 2.0
"""How long a claim waits at most for a transaction that has locked the run."""
LEASE_PART = 0.1
"""The part of LEASE_S that such a wait may take: the lease counts from the begin of the claim."""


async def _reserve_nothing(size: int) -> None:
    """Let any thread be loaded."""


async def take(
    services: Services,
    run: RunId,
    reserve: Callable[[int], Awaitable[None]] = _reserve_nothing,
    *,
    waits: bool = True,
) -> HeldRun:
    """Claim a run that is not over and that no process holds.

    `reserve` is called with the bytes of its thread before that is loaded; if it raises, the run is
    given back. `waits`: for a short transaction that has locked the run, such as a renewal. Raises
    NotFound, TooLate if the run is over, or Conflict if it is held.
    """
    sent_at = services.monotonic()
    claim = await _claim(services, run, waits=waits)
    held = HeldRun(
        run,
        Thread(interrupted=claim.interrupted),
        services.hold(claim.lease, sent_at),
        claimed=True,
        cancel_asked=claim.cancel_asked,
        attempts=claim.attempts,
    )
    try:
        await reserve(claim.thread_size)
        loaded = await _load_thread(services, run.thread)
    except BaseException:
        await give_back(services, held)
        raise
    if claim.interrupted and metrics.active is not None:
        metrics.active.taken_over(loaded.workflow)
    thread = structs.replace(loaded, interrupted=claim.interrupted)
    if claim.usage.total_tokens > thread.usage.total_tokens:
        thread = structs.replace(thread, usage=claim.usage)
    return structs.replace(held, thread=thread)


async def _load_thread(services: Services, thread: ThreadId) -> Thread:
    """Return a thread of a claimed run; of a cached one only the entries that follow are read."""
    cached = services.threads.get(thread)
    if cached is None:
        return fold((await services.retry(lambda: services.store.load(thread))).entries)
    read = partial(
        services.store.follow, thread, after=cached.head, deltas_after=(_NO_DELTAS_AFTER, 0)
    )
    return cached.after(*(await services.retry(read)).entries)


async def _claim(services: Services, run: RunId, *, waits: bool) -> Claim:
    # One token for all attempts: one whose answer was lost may have claimed the run already, or be
    # still at work on the server; so those that follow wait for its lock.
    token = new_lease_token()
    lease_s = services.limits.lease_s
    wait_s = min(LOCK_WAIT_S, lease_s * LEASE_PART)
    waits_s = chain([wait_s if waits else 0.0], repeat(wait_s))
    claim = await services.retry(lambda: services.store.claim(run, lease_s, token, next(waits_s)))
    if claim is not None:
        return claim
    record = await services.retry(lambda: services.store.run(run))
    if record.status in OVER:
        raise TooLate(f"run {run} is over: {record.status}")
    raise Conflict(f"run {run} is held by another process")


async def give_back(services: Services, held: HeldRun) -> None:
    """Release a claimed run unchanged. If a cancel has been requested meanwhile, cancel it.

    The process that requested the cancel found the run held, and may have left it to the holder.
    """
    needs_person = held.thread.waits and not held.thread.timed_calls
    status: Literal["queued", "waiting"] = "waiting" if needs_person else "queued"
    release = services.store.release
    with suppress(ServiceFault, RequestError):
        cancel_asked = await run_uninterrupted(
            release(held.lease, status=status, in_doubt=held.thread.interrupted),
            services.exit_limit,
        )
        # A run that was claimed with a cancel request is being cancelled by its holder already.
        if cancel_asked and not held.cancel_asked:
            await cancel(services, held.run)
        elif status == "queued" and held.thread.workflow:
            services.wake_ups.run_queued(held.thread.workflow)


async def cancel(services: Services, run: RunId) -> RunStatus:
    """End a run, whichever process holds it; return its status.

    The status is "running" while another process that cancels the run is about to write its end.
    Nothing else is committed for it after this. Raises NotFound, and StepUnderWay if a step's
    transaction outlasts the lock timeout: cancelling works after the step.
    """
    with suppress(Conflict, StaleRun):
        if await _request_cancel(services, run):
            async with claimed(services, run) as held:
                events = _cancel_events(services, held.thread)
                held = await write_once(services, held, events, "cancelled")
            await cancel_children(services, held.cancelled)
            return held.status
    return (await services.retry(lambda: services.store.run(run))).status


async def cancel_children(services: Services, runs: Iterable[RunId]) -> None:
    """End runs that have a cancel request since the end of the run that started them.

    Where that fails, the process that holds the run ends it, or any worker does.
    """
    for run in runs:
        with suppress(ServiceFault, RequestError, StaleRun):
            await cancel(services, run)


async def _request_cancel(services: Services, run: RunId) -> bool:
    try:
        return await services.retry(lambda: services.store.ask_cancel(run))
    except StoreUnavailable as error:
        raise await explain_wait(services, run, error) from error


def _cancel_events(services: Services, thread: Thread) -> tuple[Event, ...]:
    """Return the last entries of a run; the outcome of a call that may have happened is final."""
    call = _doubtful_call(services, thread)
    unknown = (OutcomeUnknown(call.id, call.tool, final=True),) if call else ()
    return *unknown, RunFinished("cancelled", "cancelled")


def _doubtful_call(services: Services, thread: Thread) -> Call | None:
    """Return the call that may have happened, if a process was interrupted during it."""
    workflow = services.workflows.get(thread.workflow)
    return in_doubt(thread, workflow, services.limits) if workflow and thread.interrupted else None


async def fail_run(services: Services, run: RunId, error: str) -> None:
    """Fail a run that a service's failure has stopped, because a caller waits for it.

    A call that may have happened is left to a person. Raises NotFound, Conflict if another process
    drives the run, or it is over or waits, and CancelAsked if a cancel has been requested.
    """
    async with claimed(services, run) as held:
        if held.thread.rests:
            raise Conflict(f"run {run} waits")
        call = _doubtful_call(services, held.thread)
        if call is None:
            events = (RunFinished("failed", "unavailable", error),)
            await write_once(services, held, events, "failed", error=error)
        else:
            status: RunStatus = "queued" if held.thread.timed_calls else "waiting"
            await write_once(services, held, (OutcomeUnknown(call.id, call.tool),), status)


@asynccontextmanager
async def claimed(services: Services, run: RunId) -> AsyncIterator[HeldRun]:
    """Hold a run for one commit; give it back unchanged if the body fails."""
    held = await take(services, run)
    try:
        yield held
    except BaseException:
        await give_back(services, held)
        raise


async def write_once(
    services: Services, held: HeldRun, events: Sequence[Event], status: RunStatus, **options: Any
) -> HeldRun:
    """Write entries and a status, with the short timeout of a command."""
    return await write(services, held, NullListener(), events, status, timeout_s=None, **options)
