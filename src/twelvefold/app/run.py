"""A run as a caller sees it, made from its part of the journal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from twelvefold.app.texts import last_answer
from twelvefold.core import (
    OVER,
    ApprovalAnswered,
    BadOutput,
    Call,
    ChildrenStarted,
    Entry,
    ModelReplied,
    RunId,
    RunStatus,
    Thread,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitStarted,
    call_id,
    failure_sentence,
    fold,
    incomplete_sentence,
    output_of,
)
from twelvefold.core.waits import time_of
from twelvefold.engine import Outcome, Services
from twelvefold.engine.waiting_calls import waiting_calls
from twelvefold.errors import NotFound

Output = TypeVar("Output", default=Any)
WaitingKind = Literal["approval", "outcome", "question", "event", "timer", "children"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that a run waits for. `kind` tells what ends the wait:

    - "approval": a person, by `App.approve`; without an answer the call is denied at `until`
    - "outcome": a person, by `App.settle`: its process died, and whether it took effect is unknown
    - "question": a person, by `App.answer` with a value of the JSON Schema `schema`; `person` is
      who may answer, "" for the run's principal
    - "event": the `event`, by `App.signal`
    - "timer": the time `until`
    - "children": the runs `runs`. Their own calls that wait for a person follow, with `run`

    `arguments` are those of the model; of an approval, those with which the call will run, with the
    defaults. `run` is the run that has the call. `until` is in UTC; a question or an event times
    out then.
    """

    call: str
    tool: str
    arguments: Mapping[str, Any]
    kind: WaitingKind
    run: str
    question: str = ""
    schema: Mapping[str, Any] | None = None
    person: str = ""
    event: str = ""
    until: datetime | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that has a result.

    `arguments` are those with which a person has approved it, else those of the model.
    `result` is the text that the model reads. `failure` is "" for a call that succeeded, else the
    kind of its failure: "refused", "fault", "denied", "arguments", …
    """

    id: str
    tool: str
    arguments: Mapping[str, Any]
    result: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Run(Generic[Output]):
    """One turn of a workflow, as its journal had it when this value was made.

    `id` begins with `resp_`, `conversation` with `conv_`. `status` is one of

    - "completed", "incomplete" (a limit was reached), "failed" or "cancelled": the run is over
    - "waiting": `waiting` has the calls whose results are to come
    - "queued": any process may continue it; with an `error`, a service failed
    - "running": a process drives it

    `text` is the model's last answer. `output` is the value of a completed run whose workflow has
    an output type. `error` is why the run is not completed, as a sentence;
    `reason` is a word for it. `usage` counts the tokens of this run. `calls` have a result.
    `children` are the runs that it has started.

    Example:
        from examples.shopping import workflow
        from twelvefold import Run, Settings, SyncApp

        def show(run: Run) -> None:
            print(run.id, run.status, run.text or run.error, run.usage.total_tokens)
            for call in run.calls:
                print(call.tool, call.arguments, call.result)

        with SyncApp([workflow], settings=Settings(database_url="sqlite:///shop.db")) as app:
            show(app.run(workflow, "Put milk on the list"))
    """

    id: str
    workflow: str
    principal: str
    conversation: str
    status: RunStatus
    text: str
    output: Output | None
    usage: Usage
    error: str = ""
    reason: str = ""
    waiting: tuple[Waiting, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the run has ended: nothing will change it."""
        return self.status in OVER


async def read_run(services: Services, run: RunId, principal: str | None = None) -> Run[Any]:
    """Return a run from its journal. Raises NotFound, also for a run of another principal."""
    record = await services.retry(lambda: services.store.run(run))
    if principal not in (None, record.principal):
        raise NotFound(f"no run {run}")
    journal = await services.retry(lambda: services.store.load(run.thread))
    thread = fold(entry for entry in journal.entries if entry.run <= run.ordinal)
    status = _status_of(thread, record.status)
    fault = record.error if status == "queued" else ""
    return await make_run(services, Outcome(run, status, thread, fault))


def _status_of(thread: Thread, status: RunStatus) -> RunStatus:
    """Return the status of a run whose row was read before its journal."""
    if thread.status in OVER:
        return thread.status
    if status == "waiting":
        return "waiting" if thread.waits or thread.timed_calls else "queued"
    needs_person = thread.pending and thread.pending[0].state in ("asked", "unknown")
    return "waiting" if needs_person else status


async def make_run(services: Services, outcome: Outcome) -> Run[Any]:
    """Return the latest run of a thread."""
    thread = outcome.thread
    waiting = [*_waiting(str(outcome.run), thread)]
    if thread.parent_calls:
        below = await waiting_calls(services, outcome.run, thread)
        waiting += [
            _waiting_call(str(one.run), one.call) for one in below if one.run != outcome.run
        ]
    return Run(
        id=str(outcome.run),
        workflow=thread.workflow,
        principal=thread.principal,
        conversation=f"conv_{outcome.run.thread}",
        status=outcome.status,
        text=last_answer(thread.latest),
        output=_output_of(services, thread),
        usage=thread.usage,
        error=_error_of(outcome),
        reason=thread.reason,
        waiting=tuple(waiting),
        calls=tuple(calls_of(thread.latest)),
        children=tuple(_children(thread.latest)),
    )


def _output_of(services: Services, thread: Thread) -> Any:
    """Return the typed output; None if the run has none, or the type has changed since."""
    workflow = services.workflows.get(thread.workflow)
    if workflow is None:
        return None
    with suppress(BadOutput):
        return output_of(thread, workflow)
    return None


def _error_of(outcome: Outcome) -> str:
    match outcome.status:
        case "failed":
            return failure_sentence(outcome.thread.reason, outcome.error)
        case "incomplete":
            return incomplete_sentence(outcome.error)
        case "queued":
            return outcome.fault
        case _:
            return ""


def _waiting(run: str, thread: Thread) -> Iterator[Waiting]:
    for call in thread.pending:
        if call.state in ("asked", "unknown") or call.wait is not None:
            yield _waiting_call(run, call)


def _waiting_call(run: str, call: Call) -> Waiting:
    wait = call.wait
    one = Waiting(call.id, call.tool, arguments_of(call.shown_arguments), _kind_of(call), run)
    if isinstance(wait, ChildrenStarted):
        return replace(one, runs=wait.runs)
    if wait is None:
        return replace(one, until=_time_of(call.expires_us))
    return replace(
        one,
        question=wait.question,
        schema=wait.schema,
        person=wait.person,
        event=wait.event,
        until=_time_of(wait.until_us),
    )


def _kind_of(call: Call) -> WaitingKind:
    match call.wait:
        case ChildrenStarted():
            return "children"
        case WaitStarted(question=question, event=event):
            return "question" if question else "event" if event else "timer"
        case _:
            return "approval" if call.state == "asked" else "outcome"


def _time_of(at_us: int) -> datetime | None:
    return time_of(at_us) if at_us else None


def _children(entries: Sequence[Entry]) -> Iterator[str]:
    """Return the runs that this run has started, in order."""
    for entry in entries:
        if isinstance(entry.event, ChildrenStarted):
            yield from entry.event.runs


def calls_of(entries: Sequence[Entry]) -> Iterator[ToolCall]:
    """Return the calls of a run that have a result, in the order of their results."""
    open_calls: dict[str, ToolCall] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, ModelReplied):
            open_calls.update((call.id, call) for call in requested_calls(entry.position, event))
        elif isinstance(event, ApprovalAnswered) and event.call in open_calls:
            open_calls[event.call] = as_approved(open_calls[event.call], event)
        elif isinstance(event, ToolSucceeded | ToolFailed) and event.call in open_calls:
            yield with_result(open_calls[event.call], event)


def requested_calls(position: int, reply: ModelReplied) -> Iterator[ToolCall]:
    """Return the calls of a reply, without results."""
    items = [item for item in reply.items if item.get("type") == "function_call"]
    for index, item in enumerate(items):
        arguments = arguments_of(str(item.get("arguments", "")))
        yield ToolCall(call_id(position, index), str(item.get("name", "")), arguments, "")


def as_approved(call: ToolCall, event: ApprovalAnswered) -> ToolCall:
    """Return the call with the arguments with which a person has approved it."""
    return replace(call, arguments=arguments_of(event.arguments)) if event.arguments else call


def with_result(call: ToolCall, event: ToolSucceeded | ToolFailed) -> ToolCall:
    """Return the call with its result."""
    if isinstance(event, ToolSucceeded):
        return replace(call, result=event.result)
    return replace(call, result=event.message, failure=event.failure)


def arguments_of(text: str) -> dict[str, Any]:
    """Return a call's arguments; empty if the model's text is no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
