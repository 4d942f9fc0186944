"""`twelvefold runs list`: find runs, and the facts about a run."""

from collections.abc import Container, Sequence
from typing import Any

from twelvefold.boot import now_us
from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import abbreviate, format_time, print_json, print_list, print_notice
from twelvefold.core import (
    OVER,
    RunFilter,
    RunId,
    RunRecord,
    RunStatus,
    Store,
    parse_thread_id,
)
from twelvefold.core.ports.operations import OperatedRun
from twelvefold.core.run_search import with_search
from twelvefold.errors import NotFound, RequestError

MAX_PAGES = 100
"""Parts of an index that a search reads: at most 500,000 runs, or 200,000 errors."""


@command()
async def list_runs(
    context: CommandContext,
    *,
    status: RunStatus | None,
    workflow: str,
    principal: str,
    since_s: float | None,
    until_s: float | None,
    search: str,
    limit: int,
    as_json: bool,
) -> int:
    """Print the newest runs that meet all conditions."""
    if since_s is not None and until_s is not None and since_s <= until_s:
        raise RequestError("--since must go back further than --until")
    now = now_us()
    filter = RunFilter(
        status=status,
        workflow=workflow,
        principal=principal,
        since_us=0 if since_s is None else now - round(since_s * 1_000_000),
        until_us=None if until_s is None else now - round(until_s * 1_000_000),
    )
    runs, is_complete = await _find(context.services.store, with_search(filter, search), limit)
    if as_json:
        for run in runs:
            print_json(_operated_json(run))
    else:
        heads = ("RUN", "STATUS", "WORKFLOW", "PRINCIPAL", "STARTED (UTC)", "TOKENS", "ERROR")
        served = context.services.workflows
        rows = (_run_cells(run.record, served) for run in runs)
        print_list(heads, rows, empty="no runs found")
    if not is_complete:
        print_notice("there may be more runs; --since, --workflow or --principal limits the search")
    return DONE


async def _find(store: Store, filter: RunFilter, limit: int) -> tuple[list[OperatedRun], bool]:
    """Return runs, and whether there are no others or the limit is reached."""
    runs: list[OperatedRun] = []
    end: RunId | None = None
    for _ in range(MAX_PAGES):
        found = await store.find_runs(filter, limit=limit - len(runs), after=end)
        runs += found.runs
        end = found.end
        if end is None or len(runs) == limit:
            return runs, True
    return runs, False


def _run_cells(record: RunRecord, served: Container[str]) -> Sequence[str]:
    return (
        str(record.run),
        status_text(record, served),
        record.workflow,
        record.principal,
        format_time(record.created_at_us),
        str(record.usage.total_tokens),
        abbreviate(record.error, 60),
    )


def status_text(record: RunRecord, served: Container[str]) -> str:
    if record.status in OVER:
        return record.status
    notes = {
        "leased": record.leased,
        "no lease": record.status == "running" and not record.leased,
        "cancel requested": record.cancel_asked,
        "workflow not served": record.workflow not in served,
    }
    text = ", ".join(note for note, applies in notes.items() if applies)
    return f"{record.status} ({text})" if text else record.status


def run_json(record: RunRecord) -> dict[str, Any]:
    return {
        "run": str(record.run),
        "thread": f"conv_{record.run.thread}",
        "status": record.status,
        "workflow": record.workflow,
        "principal": record.principal,
        "release": record.release,
        "input_tokens": record.usage.input_tokens,
        "output_tokens": record.usage.output_tokens,
        "error": record.error,
        "created_at_us": record.created_at_us,
        "finished_at_us": record.finished_at_us,
        "leased": record.leased,
        "cancel_asked": record.cancel_asked,
    }


def _operated_json(run: OperatedRun) -> dict[str, Any]:
    return run_json(run.record) | {
        "attempts": run.attempts,
        "updated_at_us": run.updated_at_us,
        "parent": str(run.parent) if run.parent else None,
    }


async def find_run(store: Store, text: str) -> RunId:
    """Return the run with this id, or the last run of a conversation.

    Raises NotFound, also if the conversation was deleted.
    """
    if text.startswith("resp_"):
        run = RunId.parse(text)
        try:
            await store.thread(run.thread)
        except NotFound as error:
            raise NotFound(f"no run {run}") from error
        return run
    try:
        thread = parse_thread_id(text)
    except NotFound as error:
        raise NotFound(f"no run or conversation {text!r}; ids start with resp_ or conv_") from error
    await store.thread(thread)
    record = await store.load(thread)
    if record.head == record.forked_at:
        raise NotFound(f"conversation conv_{record.id} has no run since it was forked")
    return RunId(record.id, record.entries[-1].run)
