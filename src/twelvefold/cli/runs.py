"""`twelvefold runs`: look at runs. Nothing here changes one; `fork` begins a thread beside it."""

import asyncio
import sys
from collections.abc import Container, Sequence
from typing import Any

from twelvefold.admin.export import export_lines
from twelvefold.cli.command import DONE, CommandContext, command, has_colour
from twelvefold.cli.output import print_json, print_table, shortened, tell, when, writer
from twelvefold.cli.transcript import Transcript, waiting_for
from twelvefold.core.events import Entry, RunFinished, Usage
from twelvefold.core.ids import RunId, parse_thread_id
from twelvefold.core.ports import OVER, RunRecord, RunStatus, Store, ThreadRecord
from twelvefold.core.thread import fold
from twelvefold.errors import NotFound, RequestError
from twelvefold.observe.escape import escape, escape_json

FOLLOW_S = 0.5
"""How long a follower waits between two looks at the journal."""
NO_DELTAS = (2**62, 0)
"""Behind any; what was shown of a reply is in the journal once it is whole."""


async def find_run(store: Store, text: str) -> RunId:
    """The run of this id, or the last run of the conversation of this id. Raises NotFound."""
    if text.startswith("resp_"):
        return RunId.parse(text)
    try:
        thread = parse_thread_id(text)
    except NotFound as error:
        raise NotFound(
            f"no run or conversation {text!r}; their ids begin with resp_ and conv_"
        ) from error
    record = await store.load(thread)
    if record.head == record.forked_at:
        raise NotFound(f"thread conv_{record.id} has no run of its own yet")
    return RunId(record.id, record.entries[-1].run)


@command()
async def list_runs(
    desk: CommandContext, *, status: RunStatus | None, limit: int, as_json: bool
) -> int:
    """Print the newest runs."""
    records = await desk.services.store.runs(limit=limit, status=status)
    if as_json:
        for record in records:
            print_json(_run_json(record))
    else:
        heads = ("RUN", "STATUS", "WORKFLOW", "FOR", "BEGUN (UTC)", "TOKENS", "ERROR")
        served = desk.services.workflows
        print_table(heads, (_run_cells(record, served) for record in records))
    return DONE


def _run_cells(record: RunRecord, served: Container[str]) -> Sequence[str]:
    return (
        str(record.run),
        _status_text(record, served),
        record.workflow,
        record.principal,
        when(record.created_at_us),
        str(record.usage.total_tokens),
        shortened(record.error, 60),
    )


def _status_text(record: RunRecord, served: Container[str]) -> str:
    if record.status in OVER:
        return record.status
    left = record.status == "running" and not record.leased
    told = (
        ("held", record.leased),
        ("left behind", left),
        ("to end", record.cancel_asked),
        ("workflow not served", record.workflow not in served),
    )
    notes = [note for note, holds in told if holds]
    return f"{record.status} ({', '.join(notes)})" if notes else record.status


def _run_json(record: RunRecord) -> dict[str, Any]:
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


@command()
async def show(desk: CommandContext, *, run_id: str) -> int:
    """Print what is known of a run, then what was said and done in it."""
    store = desk.services.store
    run = await find_run(store, run_id)
    record, journal = await store.run(run), await store.load(run.thread)
    facts = {**_run_json(record), "status": _status_text(record, desk.services.workflows)}
    facts |= {"begun": when(record.created_at_us), "over": when(record.finished_at_us)}
    for name in ("run", "thread", "status", "error", "workflow", "principal", "release"):
        if facts[name]:
            print(f"{name + ':':<11}{escape(facts[name])}")
    print(f"{'begun:':<11}{facts['begun']}\n{'over:':<11}{facts['over']}".rstrip())
    print(f"{'tokens:':<11}{tokens_text(record.usage)}")
    transcript = Transcript(writer(colour=has_colour(sys.stdout, desk.environ)))
    for entry in _entries_of(journal, run):
        transcript.recorded(entry)
    thread = fold(journal.entries)
    if thread.waits and thread.run == run.ordinal:
        tell(waiting_for(thread, run))
    return DONE


def tokens_text(usage: Usage) -> str:
    """The tokens of a run, and whether they are an estimate."""
    estimated = " (estimated: the model's server did not report all)" if usage.estimated else ""
    return f"{usage.input_tokens} in, {usage.output_tokens} out{estimated}"


def _entries_of(journal: ThreadRecord, run: RunId) -> list[Entry]:
    """Those of the run's own thread; one that was forked begins with another's."""
    own = (entry for entry in journal.entries if entry.position > journal.forked_at)
    return [entry for entry in own if entry.run == run.ordinal]


@command()
async def events(desk: CommandContext, *, run_id: str, follow: bool) -> int:
    """Print a run's journal, and go on printing until it is over. Reads each entry once."""
    store = desk.services.store
    run = await find_run(store, run_id)
    position = 0
    while True:
        await store.run(run)  # raises NotFound: nothing more comes of one that was removed
        heard = await store.follow(run.thread, after=position, deltas_after=NO_DELTAS)
        entries = [entry for entry in heard.entries if entry.run == run.ordinal]
        for line in export_lines(entries):
            print(escape_json(line), flush=True)
        if not follow or any(isinstance(entry.event, RunFinished) for entry in entries):
            return DONE
        position = max((position, *(entry.position for entry in heard.entries)))
        await asyncio.sleep(FOLLOW_S)


@command()
async def export(desk: CommandContext, *, run_id: str) -> int:
    """Write the journal of a run's whole conversation as JSON Lines."""
    store = desk.services.store
    run = await find_run(store, run_id)
    record = await store.load(run.thread)
    for line in export_lines(record.entries):
        print(escape_json(line))
    return DONE


@command()
async def fork(desk: CommandContext, *, place: str) -> int:
    """Begin a conversation that goes on from an entry of another, and print its id."""
    where, at, number = place.rpartition("@")
    if not at or not number.isdecimal():
        raise RequestError(f"{place!r}: write ID@N, N being an entry's number in `runs events ID`")
    store, new = desk.services.store, desk.services.ids.thread()
    run = await find_run(store, where)
    await store.fork(run.thread, int(number), new)
    print(f"conv_{new}")
    tell(f"go on with: twelvefold chat --thread conv_{new}")
    return DONE
