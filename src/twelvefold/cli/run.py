"""`twelvefold run`: one turn, the answer on standard output. Other commands drive runs with it."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from twelvefold.app.texts import last_answer
from twelvefold.cli.arguments.common import LOCAL
from twelvefold.cli.attachments import file_part, image_part
from twelvefold.cli.command import DONE, FAILED, INTERRUPTED, TRY_AGAIN, CommandContext, command
from twelvefold.cli.output import abbreviate, print_json, print_notice
from twelvefold.cli.signals import STOPPING_NOTICE, interruptible
from twelvefold.cli.transcript import ERROR_CHARS, fault_text, waiting_text
from twelvefold.core import (
    DEFAULT_OPTIONS,
    OVER,
    Entry,
    Event,
    Item,
    NullListener,
    Principal,
    RequestOptions,
    RunId,
    Thread,
    ThreadId,
    ToolFailed,
    failure_sentence,
    incomplete_sentence,
    parse_thread_id,
)
from twelvefold.engine import HeldRun, Outcome, RunRequest, Services, cancel, start_run
from twelvefold.engine.family import drive_family
from twelvefold.engine.waiting_calls import WaitingCall, waiting_calls
from twelvefold.errors import RequestError, StaleRun
from twelvefold.observe.escape import escape_prose

FORMER_LOCAL = "you"
"""The principal of commands without `--as` before release 0.2."""


@command(with_model=True)
async def run(
    context: CommandContext,
    *,
    text: str,
    workflow: str | None,
    model: str | None,
    thread: str | None,
    principal: str | None,
    as_json: bool,
    image: Sequence[str] = (),
    file: Sequence[str] = (),
) -> int:
    """Send a message to a workflow and print its answer."""
    parts = [*map(image_part, image), *map(file_part, file)]
    items = [user_message(_read_stdin() if text == "-" else text, parts)]
    thread_id = parse_thread_id(thread) if thread else None
    held = await start_run(
        context.services,
        RunRequest(
            workflow=workflow or await _find_workflow(context.services, thread_id),
            principal=await find_principal(context.services, principal, thread_id),
            items=items,
            thread=thread_id,
            options=options_for(model),
        ),
    )
    return await drive_and_print(context.services, held, as_json=as_json)


async def find_principal(
    services: Services, given: str | None, thread: ThreadId | None
) -> Principal:
    """Return the principal to act for: the given one, or that of the person at this machine.

    A conversation of earlier releases, in which that person was `you`, continues as `you`.
    """
    if given or thread is None:
        return Principal(given or LOCAL)
    owner = (await services.store.thread(thread)).principal
    return Principal(FORMER_LOCAL if owner == FORMER_LOCAL else LOCAL)


def options_for(model: str | None) -> RequestOptions:
    """Return the options of a run with this model; None for that of the workflow."""
    return RequestOptions(model=model) if model else DEFAULT_OPTIONS


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input is not UTF-8 at byte {error.start}") from error


def user_message(text: str, parts: Sequence[Item] = ()) -> Item:
    """Return a user message in the format of the Responses API; `parts` are images and files.

    Raises RequestError if it is empty.
    """
    if not (text.strip() or parts):
        raise RequestError("the message is empty; pass a text, or - to read standard input")
    texts = [{"type": "input_text", "text": text}] if text.strip() else []
    return {"type": "message", "role": "user", "content": [*texts, *parts]}


async def _find_workflow(services: Services, thread: ThreadId | None) -> str:
    if thread is None or len(services.workflows) == 1:
        return default_workflow(services)
    return (await services.store.load(thread)).workflow


def default_workflow(services: Services) -> str:
    """Return the name of the first workflow of WORKFLOWS."""
    return next(iter(services.workflows))


async def drive_and_print(services: Services, held: HeldRun, *, as_json: bool = False) -> int:
    """Drive a run until it ends or waits, print its answer, and return the exit status.

    Ctrl-C cancels the run. SIGTERM and unexpected errors release it, so that it can be resumed.
    """
    async with interruptible(lambda: print_notice(STOPPING_NOTICE)) as interrupted:
        outcome = None
        try:
            outcome = await drive_family(services, held, _FaultPrinter())
        except asyncio.CancelledError:
            if not interrupted:
                print_notice(f"stopped; {_resume_hint(held.run)}")
                return TRY_AGAIN
        except StaleRun:  # another process continues the run
            raise
        except Exception:
            print_notice(f"stopped by an error; {_resume_hint(held.run)}")
            raise
    if outcome is None:
        print_notice(f"run {held.run} is {await cancel(services, held.run)}")
        return INTERRUPTED
    below = await waiting_calls(services, outcome.run, outcome.thread)
    _print_outcome(outcome, below, as_json=as_json)
    return exit_status(outcome)


def _print_outcome(outcome: Outcome, waiting: Sequence[WaitingCall], *, as_json: bool) -> None:
    if as_json:
        print_json(_outcome_json(outcome, waiting))
    elif outcome.status in OVER and (answer := last_answer(outcome.thread.latest)):
        print(escape_prose(answer))
    if notice := _outcome_notice(outcome, waiting):
        print_notice(notice)


def exit_status(outcome: Outcome) -> int:
    """Return the exit status of an outcome."""
    if outcome.status in ("queued", "waiting"):
        return TRY_AGAIN
    return DONE if outcome.status == "completed" and not _has_faults(outcome.thread) else FAILED


def _has_faults(thread: Thread) -> bool:
    return any(_is_fault(entry.event) for entry in thread.latest)


def _is_fault(event: Event) -> bool:
    return isinstance(event, ToolFailed) and event.failure == "fault"


class _FaultPrinter(NullListener):
    """A listener that prints each exception of a tool at once."""

    def recorded(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, ToolFailed) and event.error is not None:
            print_notice(f"tool {event.tool} raised {fault_text(event.error)}")


def _outcome_notice(outcome: Outcome, waiting: Sequence[WaitingCall]) -> str:
    match outcome.status:
        case "completed":
            return ""
        case "waiting":
            return outcome.fault or waiting_text(outcome.thread, outcome.run, waiting)
        case "queued":
            return f"{outcome.error}; {_resume_hint(outcome.run)}"
        case "failed":
            sentence = failure_sentence(outcome.thread.reason, outcome.error)
            return f"{abbreviate(sentence, ERROR_CHARS)} ({outcome.run})"
        case _:
            reason = incomplete_sentence(outcome.error)
            return f"run {outcome.run} is {outcome.status}: {reason}"


def _resume_hint(run: RunId) -> str:
    return f"to continue the run without a worker: twelvefold runs resume {run}"


def _outcome_json(outcome: Outcome, waiting: Sequence[WaitingCall]) -> dict[str, Any]:
    usage = outcome.thread.usage
    return {
        "run": str(outcome.run),
        "thread": f"conv_{outcome.run.thread}",
        "status": outcome.status,
        "answer": last_answer(outcome.thread.latest),
        "error": outcome.error,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
        },
        "waiting": [
            {
                "run": str(run),
                "call": call.id,
                "tool": call.tool,
                "arguments": call.shown_arguments,
                "for": "question" if call.state == "waiting" else call.state,
            }
            for run, _, call in waiting
        ],
    }
