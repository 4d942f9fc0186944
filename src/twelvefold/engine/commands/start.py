"""Start a run: here, under a lease, or in the queue for any process.

The input is checked first: whether the journal can store it, and has room for it.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from msgspec import structs

from twelvefold.core import (
    DEFAULT_OPTIONS,
    OVER,
    Entry,
    Event,
    IdempotentRequest,
    Item,
    Lease,
    Limits,
    NewRun,
    Principal,
    RequestOptions,
    RunId,
    RunStarted,
    Thread,
    ThreadId,
    Workflow,
    decode,
    encode,
    find_reached_limit,
    fold,
    full_sentence,
    has_attachments,
    models_of,
    name_problem,
    size_of,
)
from twelvefold.core.ports.budgets import Spender
from twelvefold.core.trace_ids import SpanContext
from twelvefold.engine.held_run import HeldRun, apply_entries
from twelvefold.engine.inputs import check_attachments, check_inputs
from twelvefold.engine.lease import new_lease_token
from twelvefold.engine.services import Services
from twelvefold.errors import Conflict, ConversationTooLarge, NotFound, RequestError, StoreRefused

INPUT_BYTES = 4 * 1024 * 1024
"""The largest input of one turn; well under the 16 MiB that a MySQL statement may have."""
RUN_ENTRIES = 3
"""The fewest entries of a run with a reply: its start, the reply, its end."""
AnyEvent = TypeVar("AnyEvent", bound=Event)
Started = TypeVar("Started")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to start or enqueue, on a new thread if `thread` is None.

    `position`: where the thread must end, 0 for anywhere. With `fork` the run continues from that
    position on a new thread. `key` makes the request idempotent. `allowed_tools` are those that the
    caller's API key allows in the run and in those below it; None: all. `priority` is that of the
    key. `trace` is the `traceparent` of the caller's request.
    """

    workflow: str
    principal: Principal
    items: Sequence[Item]
    thread: ThreadId | None = None
    options: RequestOptions = DEFAULT_OPTIONS
    key: IdempotentRequest | None = None
    position: int = 0
    fork: bool = False
    allowed_tools: tuple[str, ...] | None = None
    priority: int = 0
    trace: str = ""


async def start_run(services: Services, request: RunRequest) -> HeldRun:
    """Write a new run and hold its lease.

    Raises RequestError for an unknown workflow, an invalid principal or items that cannot be
    stored, InputRefused, ConversationTooLarge, NotFound for a thread that is not the principal's,
    Conflict if its last run is not over or it is at another position, Repeated if the request was
    made before, InsufficientQuota and PriceUnknown for the budgets that cover it, and
    MigrationUnfinished if the workflow's entries need the gate and it is closed.
    """
    return await _again_if_stale(services, request, _start_run)


async def _start_run(services: Services, request: RunRequest) -> HeldRun:
    new, before, started = await _prepare(services, request, background=False)
    lease = services.hold(Lease(new.run, new.token), services.monotonic())
    entry, _ = await services.retry(
        lambda: services.store.start(new, started, services.limits.lease_s)
    )
    return apply_entries(HeldRun(new.run, before, lease), [entry])


async def enqueue_run(services: Services, request: RunRequest) -> tuple[RunId, Entry]:
    """Write a new run for any process to claim; return its id and its first entry.

    Raises as `start_run` does.
    """
    return await _again_if_stale(services, request, _enqueue_run)


async def _enqueue_run(services: Services, request: RunRequest) -> tuple[RunId, Entry]:
    new, before, started = await _prepare(services, request, background=True)
    entry, _ = await services.retry(lambda: services.store.start(new, started, None))
    no_lease = services.hold(Lease(new.run, new.token), -math.inf)
    apply_entries(HeldRun(new.run, before, no_lease), [entry])
    services.wake_ups.run_queued(new.workflow)
    return new.run, entry


async def _again_if_stale(
    services: Services,
    request: RunRequest,
    start: Callable[[Services, RunRequest], Awaitable[Started]],
) -> Started:
    """Start the run, and once more with the journal if the thread was cached and may have moved."""
    thread = request.thread
    if thread is None or services.threads.get(thread) is None:
        return await start(services, request)
    try:
        return await start(services, request)
    except (Conflict, NotFound):
        services.threads.drop(thread)
    return await start(services, request)


async def _prepare(
    services: Services, request: RunRequest, *, background: bool
) -> tuple[NewRun, Thread, RunStarted]:
    """Return the new run, the thread that it continues, and its first entry."""
    started, size = _first_entry(services, request)
    workflow = services.workflows[request.workflow]
    if workflow.needs_gate:
        await services.gate.check_workflow(workflow)
    if request.allowed_tools is not None:
        await services.gate.check("a key with allowed tools")
    started = await _with_key(services, request, started)
    await _check_budgets(services, request, workflow)
    before = await _thread_before(services, request)
    if before.has_attachments or has_attachments(started.items):
        check_inputs(services, workflow, request.options, before, started.items)
    check_room(before.head, before.size, size, services.limits, entries=RUN_ENTRIES)
    new = _new_run(services, request, before, background=background)
    return new, before, await _with_decision(services, new.run, started)


def _first_entry(services: Services, request: RunRequest) -> tuple[RunStarted, int]:
    """Return a run's first entry and its size in bytes. Raises RequestError."""
    if problem := name_problem("principal", request.principal.id):
        raise RequestError(problem)
    workflow = services.offered.get(request.workflow)
    if workflow is None:
        known = ", ".join(services.offered)
        raise RequestError(f"no workflow {request.workflow!r}; there are {known}")
    if (model := request.options.model) and model not in workflow.models:
        known = ", ".join(workflow.models) or "none"
        raise RequestError(
            f"workflow {workflow.name!r} has no model {model!r} for callers; there are {known}"
        )
    event, size = check_storable(
        RunStarted(
            tuple(request.items),
            request.principal.id,
            request.workflow,
            services.release,
            request.options,
            allowed_tools=request.allowed_tools,
        )
    )
    if has_attachments(event.items):
        check_attachments(event.items)
    return event, size


async def _check_budgets(services: Services, request: RunRequest, workflow: Workflow) -> None:
    """Raise InsufficientQuota or PriceUnknown if a budget that covers the run refuses it."""
    principal = request.principal
    spender = Spender(principal.id, principal.key_id, (workflow.name,))
    if await services.budgets.covering(spender):
        from twelvefold.engine.budget_errors import check_budgets

        names = models_of(workflow.model, request.options)
        cap = request.options.max_output_tokens
        await check_budgets(services, spender, names, request.items, cap)


async def _with_key(services: Services, request: RunRequest, started: RunStarted) -> RunStarted:
    """Return the entry with the request's API key and span, which older releases do not know."""
    key_id, trace = request.principal.key_id, _caller_of(services, request)
    if not (key_id or trace) or not await services.gate.is_open():
        return started
    return structs.replace(started, key_id=key_id, trace=trace)


async def _with_decision(services: Services, run: RunId, started: RunStarted) -> RunStarted:
    """Return the entry with the decision whether its trace is exported."""
    if services.traces is None or not await services.gate.is_open():
        return started
    return structs.replace(started, sampled=services.traces.samples(run, started))


def _caller_of(services: Services, request: RunRequest) -> str:
    """Return the span that requests the run, as a `traceparent`; "" if none does."""
    current = services.traces.caller() if services.traces else ""
    given = current or request.trace
    caller = SpanContext.parse(given) if given else None
    return str(caller) if caller else ""


async def _thread_before(services: Services, request: RunRequest) -> Thread:
    """Return the thread that a new run continues."""
    thread = request.thread
    if thread is None:
        return Thread()
    if cached := _cached_thread(services, thread, request):
        return cached
    record = await services.retry(lambda: services.store.load(thread))
    _check_thread(record.principal, record.workflow, thread, request)
    if request.fork:
        return fold([entry for entry in record.entries if entry.position <= request.position])
    before = fold(record.entries)
    # The run that a thread was forked from in the middle belongs to the other thread.
    if before.status == "active" and record.head > record.forked_at:
        raise Conflict(f"run {RunId(thread, before.run)} of this thread is not over")
    if request.position not in (0, before.head):
        raise Conflict(
            f"thread conv_{thread} is at {before.head}, not at {request.position} any more"
        )
    return before


def _cached_thread(services: Services, thread: ThreadId, request: RunRequest) -> Thread | None:
    """Return the thread if it is cached at the position of the request, and its run is over."""
    cached = services.threads.get(thread)
    if cached is None or cached.status not in OVER or request.fork:
        return None
    if request.position not in (0, cached.head):
        return None
    _check_thread(cached.principal, cached.workflow, thread, request)
    return cached


def _check_thread(principal: str, workflow: str, thread: ThreadId, request: RunRequest) -> None:
    """Check the thread's owner and workflow, which never change."""
    if principal != request.principal.id:
        raise NotFound(f"no thread conv_{thread}")
    # A conversation without runs may have no workflow.
    if workflow not in ("", request.workflow):
        raise RequestError(
            f"thread conv_{thread} is of workflow {workflow!r}, not {request.workflow!r}"
        )


def _new_run(
    services: Services, request: RunRequest, before: Thread, *, background: bool
) -> NewRun:
    thread, fork = request.thread, request.fork
    return NewRun(
        RunId(_thread_of(services, request), before.run + 1),
        new_lease_token(),
        before.head,
        request.principal.id,
        request.workflow,
        services.release,
        background,
        request.key,
        thread_exists=thread is not None and not fork,
        forked_from=thread if fork else None,
        thread_size=before.size,
        key_id=request.principal.key_id,
        priority=request.priority,
    )


def _thread_of(services: Services, request: RunRequest) -> ThreadId:
    """Return the thread that a new run is on."""
    if request.thread is None:
        return services.ids.thread()
    return services.ids.thread_in_family(request.thread) if request.fork else request.thread


def check_storable(event: AnyEvent) -> tuple[AnyEvent, int]:
    """Return an event as the journal will return it, and its size there in bytes.

    Raises RequestError if the journal cannot store it.
    """
    try:
        kind, version, body = encode(event)
        decoded = cast("AnyEvent", decode(kind, version, body))
    except (UnicodeEncodeError, TypeError, RecursionError) as error:
        raise RequestError(f"the input cannot be stored as text: {error}") from error
    except StoreRefused as error:
        raise RequestError(f"the input is no list of items: {error.__cause__}") from error
    size = size_of(body)
    if size > INPUT_BYTES:
        raise RequestError(f"the input is {size} bytes long; {INPUT_BYTES} is the most")
    # The caller's own value where both are equal: no second copy of a long input stays in memory.
    return (event if event == decoded else decoded), size


def check_room(
    entries_before: int, size_before: int, size: int, limits: Limits, *, entries: int = 1
) -> None:
    """Raise ConversationTooLarge if a conversation has no room for more entries.

    It holds `entries_before` and `size_before` bytes; `entries` with `size` bytes are to be added.
    """
    reason = find_reached_limit(entries_before + entries - 1, size_before + size, limits)
    if reason is not None:
        raise ConversationTooLarge(full_sentence(reason, limits))
