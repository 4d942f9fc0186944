"""`twelvefold runs`: show, export and fork runs; cancel, retry, resume and answer them."""

import asyncio
import sys
from collections.abc import Container

from twelvefold.cli.command import DONE, FAILED, CommandContext, command, has_colour
from twelvefold.cli.family import write_entry
from twelvefold.cli.output import (
    check_reader,
    format_time,
    print_notice,
    stdout_writer,
)
from twelvefold.cli.run import drive_and_print
from twelvefold.cli.run_list import find_run, run_json, status_text
from twelvefold.cli.timeline import cost_text, print_timeline
from twelvefold.cli.transcript import Transcript, as_option, waiting_text
from twelvefold.core import (
    DEFAULT_MODEL,
    OVER,
    CallId,
    Entry,
    RunFinished,
    RunId,
    RunRecord,
    Settlement,
    ThreadRecord,
    Usage,
    fold,
)
from twelvefold.core.answers import parse_answer, question_of
from twelvefold.core.tools.schema import BadArguments
from twelvefold.engine import (
    Services,
    answer,
    answer_question,
    cancel,
    find_prices,
    fork_at,
    settle,
    take,
)
from twelvefold.engine.commands.retry_run import retry_run
from twelvefold.engine.export import export_lines, export_thread
from twelvefold.engine.waiting_calls import waiting_calls
from twelvefold.errors import RequestError
from twelvefold.observe.escape import escape, escape_json

POLL_INTERVAL_S = 0.5
"""Seconds between two reads of the journal by `events --follow`."""
MAX_CHILDREN = 200
NO_DELTAS = (2**62, 0)
"""A position after every delta: complete replies are in the journal."""


@command()
async def show(context: CommandContext, *, run_id: str) -> int:
    """Print the facts about a run, its timeline and its transcript."""
    store = context.services.store
    run = await find_run(store, run_id)
    record, journal = await store.run(run), await store.load(run.thread)
    entries = _entries_of(journal, run)
    _print_facts(record, context.services.workflows)
    price = (await find_prices(context.services))(DEFAULT_MODEL)
    if cost := cost_text(record.usage, price):
        print(f"{'cost:':<11}{cost}")
    print_timeline(entries, record, await store.runs_below(run, limit=MAX_CHILDREN))
    write = stdout_writer(colour=has_colour(sys.stdout, context.environ))
    transcript = Transcript(write)
    for entry in entries:
        await write_entry(store, entry, transcript, write)
    thread = fold(journal.entries)
    if thread.rests and thread.run == run.ordinal:
        below = await waiting_calls(context.services, run, thread)
        print_notice(waiting_text(thread, run, below))
    return DONE


def _print_facts(record: RunRecord, served: Container[str]) -> None:
    facts = {**run_json(record), "status": status_text(record, served)}
    for name in ("run", "thread", "status", "error", "workflow", "principal", "release"):
        if facts[name]:
            print(f"{name + ':':<11}{escape(facts[name])}")
    print(f"{'started:':<11}{format_time(record.created_at_us)}")
    if record.finished_at_us is not None:
        print(f"{'ended:':<11}{format_time(record.finished_at_us)}")
    print(f"{'tokens:':<11}{tokens_text(record.usage)}")


def tokens_text(usage: Usage) -> str:
    """Return the tokens of a run, and whether they are an estimate."""
    estimated = " (estimated: the model server did not report all)" if usage.estimated else ""
    return f"{usage.input_tokens} in, {usage.output_tokens} out{estimated}"


def _entries_of(journal: ThreadRecord, run: RunId) -> list[Entry]:
    """Return the run's entries. A forked thread starts with entries of another thread's runs."""
    own = (entry for entry in journal.entries if entry.position > journal.forked_at)
    return [entry for entry in own if entry.run == run.ordinal]


@command()
async def events(context: CommandContext, *, run_id: str, follow: bool) -> int:
    """Print a run's journal; with `follow` until the run has ended. Reads each entry once."""
    store = context.services.store
    run = await find_run(store, run_id)
    position = 0
    while True:
        await store.run(run)  # raises NotFound if the run has been removed
        delta = await store.follow(run.thread, after=position, deltas_after=NO_DELTAS)
        entries = [entry for entry in delta.entries if entry.run == run.ordinal]
        for line in export_lines(entries):
            print(escape_json(line), flush=True)
        if not follow or any(isinstance(entry.event, RunFinished) for entry in entries):
            return DONE
        position = max((position, *(entry.position for entry in delta.entries)))
        check_reader()
        await asyncio.sleep(POLL_INTERVAL_S)


@command()
async def export(context: CommandContext, *, run_id: str) -> int:
    """Print the journal of a run's whole conversation as JSON Lines, and the runs below it."""
    store = context.services.store
    run = await find_run(store, run_id)
    async for line in export_thread(store, run.thread):
        print(escape_json(line))
    return DONE


@command()
async def fork(context: CommandContext, *, position: str) -> int:
    """Start a conversation that continues from an entry of another, and print its id."""
    run_id, at, number = position.rpartition("@")
    if not at or not number.isdecimal():
        raise RequestError(f"{position!r}: use ID@N, where N is a position in `runs events ID`")
    run = await find_run(context.services.store, run_id)
    new = await fork_at(context.services, run, int(number))
    print(f"conv_{new}")
    print_notice(f"continue with: twelvefold chat --thread conv_{new}")
    return DONE


@command()
async def cancel_run(context: CommandContext, *, run_id: str) -> int:
    """Cancel a run. A process that drives it stops when it notices."""
    run = await find_run(context.services.store, run_id)
    status = await cancel(context.services, run)
    if status == "cancelled":
        print(f"{run} cancelled")
        return DONE
    if status in OVER:
        print_notice(f"run {run} has already ended: {status}")
        return FAILED
    print(f"{run} is being cancelled by another process; it commits nothing more")
    return DONE


@command(with_model=True)
async def resume(context: CommandContext, *, run_id: str) -> int:
    """Continue a run that no process is driving, and print its answer."""
    return await _continue_run(context, await find_run(context.services.store, run_id))


@command(with_model=True)
async def retry(context: CommandContext, *, run_id: str, detach: bool) -> int:
    """Run the input of a run again that did not complete, in its conversation."""
    services = context.services
    run = await find_run(services.store, run_id)
    await _check_workflow(services, run, detach)
    new = await retry_run(services, run)
    if detach:
        print(new)
    return await _continue_run(context, new, detach=detach)


@command(with_model=True)
async def approve(
    context: CommandContext,
    *,
    run_id: str,
    deny: bool,
    reason: str,
    arguments: str,
    call: str,
    detach: bool,
    principal: str,
) -> int:
    """Approve or deny a waiting call, and continue its run."""
    services, call_id = context.services, CallId(call)
    run = await find_run(services.store, run_id)
    await _check_workflow(services, run, detach)
    try:
        await answer(
            services,
            run,
            approved=not deny,
            by=principal,
            reason=reason,
            arguments=arguments,
            call=call_id,
            claims=not detach,
        )
    except RequestError as error:
        if isinstance(error.__cause__, BadArguments):
            raise RequestError(f"--arguments: {error}") from error
        raise
    return await _continue_run(context, run, detach=detach)


@command(with_model=True)
async def answer_call(
    context: CommandContext, *, run_id: str, value: str, call: str, detach: bool, principal: str
) -> int:
    """Answer the question of a tool as the person whom it asks, and continue its run."""
    services, call_id = context.services, CallId(call)
    run = await find_run(services.store, run_id)
    await _check_workflow(services, run, detach)
    thread = fold((await services.store.load(run.thread)).entries)
    questions = (question_of(one) for one in thread.pending if one.id == call)
    asked = next(filter(None, questions), None)
    if asked:
        _check_person(run, call_id, asked.person or thread.principal, principal)
    await answer_question(
        services,
        run,
        parse_answer(asked.schema if asked else None, value),
        by=principal,
        principal=principal,
        call=call_id,
        claims=not detach,
    )
    return await _continue_run(context, run, detach=detach)


def _check_person(run: RunId, call: CallId, asked: str, principal: str) -> None:
    """Raise RequestError unless `principal` is the person asked, as over HTTP."""
    if principal != asked:
        raise RequestError(
            f"{asked} has to answer call {call} of run {run}; to answer for them: "
            f"{as_option(asked)}"
        )


@command(with_model=True)
async def settle_call(
    context: CommandContext,
    *,
    run_id: str,
    settled: Settlement,
    result: str,
    call: str,
    detach: bool,
    principal: str,
) -> int:
    """Record the outcome of a call whose outcome is unknown, and continue its run."""
    services, call_id = context.services, CallId(call)
    run = await find_run(services.store, run_id)
    await _check_workflow(services, run, detach)
    await settle(
        services,
        run,
        settled=settled,
        by=principal,
        result=result,
        call=call_id,
        claims=not detach,
    )
    return await _continue_run(context, run, detach=detach)


async def _check_workflow(services: Services, run: RunId, detach: bool) -> None:
    """Raise RequestError, before anything is written, if this process cannot continue the run."""
    workflow = (await services.store.run(run)).workflow
    if not detach and workflow not in services.workflows:
        raise RequestError(
            f"the run belongs to workflow {workflow!r}, which is not in WORKFLOWS; "
            "use --detach to let a worker continue it"
        )


async def _continue_run(context: CommandContext, run: RunId, *, detach: bool = False) -> int:
    if detach:
        return DONE
    return await drive_and_print(context.services, await take(context.services, run))
