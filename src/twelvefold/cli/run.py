"""`twelvefold run`: one turn, the answer on standard output. Also how any run is driven to rest."""

import asyncio
import sys
from typing import Any

from twelvefold.cli.command import DONE, FAILED, INTERRUPTED, TRY_AGAIN, CommandContext, command
from twelvefold.cli.output import print_json, said, shortened, tell
from twelvefold.cli.signals import STOPPING, interruptible
from twelvefold.cli.transcript import ERROR_CHARS, fault_text, waiting_for
from twelvefold.core.events import Entry, Event, Item, ModelReplied, ToolFailed
from twelvefold.core.failures import failure_sentence, incomplete_sentence
from twelvefold.core.ids import RunId, ThreadId, parse_thread_id
from twelvefold.core.ports import OVER, NullListener, Principal
from twelvefold.core.thread import Thread
from twelvefold.engine.commands import cancel, start_run
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import RequestError, StaleRun
from twelvefold.observe.escape import escape_prose


@command(with_model=True)
async def run(
    desk: CommandContext,
    *,
    text: str,
    workflow: str | None,
    thread: str | None,
    principal: str,
    as_json: bool,
) -> int:
    """Say something to a workflow and print what it answers."""
    items = [message(_read_input() if text == "-" else text)]
    thread_id = parse_thread_id(thread) if thread else None
    driven = await start_run(
        desk.services,
        workflow=workflow or await _workflow_of(desk.services, thread_id),
        principal=Principal(principal),
        items=items,
        thread=thread_id,
    )
    return await drive_to_rest(desk.services, driven, as_json=as_json)


async def _workflow_of(services: Services, thread: ThreadId | None) -> str:
    if thread is None or len(services.workflows) == 1:
        return default_workflow(services)
    return (await services.store.load(thread)).workflow


def message(text: str) -> Item:
    """What a user says, in the Responses API's shape. Raises RequestError for nothing at all."""
    if not text.strip():
        raise RequestError("nothing was said; give a text, or - to read standard input")
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def default_workflow(services: Services) -> str:
    """The first of WORKFLOWS."""
    return next(iter(services.workflows))


async def drive_to_rest(services: Services, driven: HeldRun, *, as_json: bool = False) -> int:
    """Drive a run as far as it goes, print its answer, and return the exit status it means.

    Ctrl-C cancels the run. When the process is told to stop, the run is given back and can be
    resumed; so it is when something unexpected ends it.
    """
    async with interruptible(lambda: tell(STOPPING)) as interrupted:
        outcome = None
        try:
            outcome = await drive(services, driven, _Faults())
        except asyncio.CancelledError:
            if not interrupted:
                tell(f"stopped; {_how_to_go_on(driven.run)}")
                return TRY_AGAIN
        except StaleRun:  # another process goes on with it
            raise
        except Exception:
            tell(f"broken off; {_how_to_go_on(driven.run)}")
            raise
    if outcome is None:
        tell(f"run {driven.run} is {await cancel(services, driven.run)}")
        return INTERRUPTED
    if as_json:
        print_json(_as_json(outcome))
    elif outcome.status in OVER and (answer := answer_of(outcome.thread)):
        print(escape_prose(answer))
    if said_beside := _remark(outcome):
        tell(said_beside)
    return status_of(outcome)


def status_of(outcome: Outcome) -> int:
    """The exit status that an outcome means."""
    if outcome.status in ("queued", "waiting"):
        return TRY_AGAIN
    return DONE if outcome.status == "completed" and not _has_faults(outcome.thread) else FAILED


def _has_faults(thread: Thread) -> bool:
    return any(_is_fault(entry.event) for entry in thread.latest)


def _is_fault(event: Event) -> bool:
    return isinstance(event, ToolFailed) and event.failure == "fault"


class _Faults(NullListener):
    """A listener that prints each exception of a tool at once."""

    def recorded(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, ToolFailed) and event.error is not None:
            tell(f"tool {event.tool} raised {fault_text(event.error)}")


def answer_of(thread: Thread) -> str:
    """What the model said last in the thread's latest run."""
    for entry in reversed(thread.entries):
        if entry.run != thread.run:
            break
        if isinstance(entry.event, ModelReplied):
            return said(entry.event.items)
    return ""


def _remark(outcome: Outcome) -> str:
    match outcome.status:
        case "completed":
            return ""
        case "waiting":
            return waiting_for(outcome.thread, outcome.run)
        case "queued":
            return f"{outcome.error}; {_how_to_go_on(outcome.run)}"
        case "failed":
            sentence = failure_sentence(outcome.thread.reason, outcome.error)
            return f"{shortened(sentence, ERROR_CHARS)} ({outcome.run})"
        case _:
            why = incomplete_sentence(outcome.error)
            return f"run {outcome.run} is {outcome.status}: {why}"


def _how_to_go_on(run: RunId) -> str:
    return f"if no worker does, go on with: twelvefold runs resume {run}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    usage = outcome.thread.usage
    return {
        "run": str(outcome.run),
        "thread": f"conv_{outcome.run.thread}",
        "status": outcome.status,
        "answer": answer_of(outcome.thread),
        "error": outcome.error,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "waiting": [
            {"call": call.id, "tool": call.tool, "arguments": call.arguments, "for": call.state}
            for call in outcome.thread.pending
            if call.state in ("asked", "unknown")
        ],
    }


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input is no UTF-8 at byte {error.start}") from error
