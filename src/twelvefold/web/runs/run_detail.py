"""One run as an operator sees it: its timeline, its failure, its children, what it waits for."""

from collections.abc import Sequence
from functools import partial

from twelvefold.core import OVER, Entry, OperatedRun, Principal, RunId, RunRecord, fold
from twelvefold.core.timeline import timeline
from twelvefold.engine import retry_unavailable
from twelvefold.engine.pricing import default_price
from twelvefold.engine.waiting_calls import asked_calls, asked_us, needs_person
from twelvefold.errors import NotFound
from twelvefold.web.projection.admin_detail import (
    actions_of,
    failure_object,
    open_call,
    span_object,
)
from twelvefold.web.projection.admin_runs import admin_run
from twelvefold.web.schemas import Json
from twelvefold.web.state import Web, turn_memory
from twelvefold.web.streaming.lookup import entries_of_run

MAX_SPANS = 1_000
MAX_CHILDREN = 200
_NO_DELTAS = (2**62, 0)


async def describe_run(web: Web, operator: Principal, run: RunId) -> Json:
    """Return a run with all its parts. Raises NotFound, and ApiError with 429 without memory."""
    store, price = web.services.store, await default_price(web.services)
    found = await retry_unavailable(partial(store.operated_run, run))
    record = await retry_unavailable(partial(store.run, run))
    below = await retry_unavailable(partial(store.runs_below, run, limit=MAX_CHILDREN))
    with turn_memory(web.reads, operator, 0) as memory:
        await memory.hold(record.thread_size)
        entries = await _load_entries(web, record)
        waiting = await find_open_calls(web, record)
        spans = timeline(entries, record.status, leased=record.leased)
        return admin_run(found, price) | {
            "timeline": [span_object(span) for span in spans[:MAX_SPANS]],
            "timeline_is_cut": len(spans) > MAX_SPANS,
            "waiting": waiting,
            "failure": failure_object(record, entries),
            "children": [admin_run(child, price) for child in below],
            "actions": actions_of(record, waiting, is_child=found.parent is not None),
        }


async def _load_entries(web: Web, record: RunRecord) -> Sequence[Entry]:
    store, run, after = web.services.store, record.run, record.began - 1
    delta = await retry_unavailable(
        lambda: store.follow(
            run.thread, after=after, deltas_after=_NO_DELTAS, to=record.last_position
        )
    )
    return entries_of_run(delta.entries, run)


async def list_open_calls(web: Web, found: OperatedRun) -> list[Json]:
    """Return the calls of a run itself that wait for a person. Reads the entries of the run."""
    store, run = web.services.store, found.record.run
    try:
        record = await retry_unavailable(partial(store.run, run))
    except NotFound:  # it was deleted
        return []
    thread = fold(await _load_entries(web, record))
    return [
        open_call(run, record.workflow, record.principal, call, asked_us(thread, call.id))
        for call in thread.pending
        if record.status == "waiting" and needs_person(call)
    ]


async def find_open_calls(web: Web, record: RunRecord) -> list[Json]:
    """Return the calls of a run, and of those below it, that wait for a person."""
    if record.status in OVER:
        return []
    services, run = web.services, record.run
    thread = fold((await services.retry(partial(services.store.load, run.thread))).entries)
    if thread.run != run.ordinal:
        return []
    return [
        open_call(found.run, found.workflow, record.principal, found.call, since_us)
        for found, since_us in await asked_calls(services, run, thread)
    ]
