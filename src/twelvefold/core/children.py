"""Runs that a call starts: what they may use, when the call stops waiting, and its result. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from twelvefold.core.budget import Limits, run_cost_micro_usd
from twelvefold.core.decide import limits_of
from twelvefold.core.events import (
    ChildLimits,
    ChildrenStarted,
    Event,
    FinalStatus,
    Item,
    ModelReplied,
    RunFinished,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitEnded,
)
from twelvefold.core.ids import RunId
from twelvefold.core.ports.run_records import OVER, RunStatus
from twelvefold.core.thread import Call, Thread, add_usage

NO_USAGE = Usage()
NO_MODELS: Mapping[str, Usage] = {}


class ChildAnswer(Struct, frozen=True):
    """How a child stands. `items` are the messages of its answer, `text` is their text.

    `is_json`: the text is the output of a workflow with an output type. `reason` is that of its
    end. `usage` includes that of its own children; `usage_by_model` is the part of it whose model
    is known.
    """

    status: RunStatus
    reason: str = ""
    text: str = ""
    is_json: bool = False
    items: tuple[Item, ...] = ()
    usage: Usage = NO_USAGE
    workflow: str = ""
    usage_by_model: Mapping[str, Usage] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Why there is no answer, for the model."""
        ending = "did not complete" if self.status not in OVER else f"ended as {self.status}"
        has_reason = self.reason and self.reason != self.status
        return f"{self.workflow or 'the run'} {ending}" + (f": {self.reason}" if has_reason else "")


# --- limits -------------------------------------------------------------------------------------


def share_of(
    thread: Thread, limits: Limits, runs: int, waiting_calls: int = 0, left_s: float | None = None
) -> ChildLimits:
    """Return what each of `runs` new children may use: an equal part of what the run has left.

    What other children that still run may use is not left. `waiting_calls` more calls of the reply
    will start one run each. `left_s`: how long the drive of this run may still take. Parts of 0
    mean that nothing is left.
    """
    own = limits_of(thread, limits)
    count = runs + waiting_calls
    tokens = micro_usd = None
    if own.run_tokens is not None:
        given = _given(thread, "tokens")
        tokens = max(own.run_tokens - thread.usage.total_tokens - given, 0) // count
    if own.run_micro_usd is not None and (own.price is not None or own.prices):
        spent = run_cost_micro_usd(thread.usage, thread.usage_by_model, own)
        micro_usd = max(own.run_micro_usd - spent - _given(thread, "micro_usd"), 0) // count
    return ChildLimits(tokens, micro_usd, left_s)


def _given(thread: Thread, part: str) -> int:
    """Return what the children that the run waits for may use in total."""
    return sum(
        len(wait.runs) * (getattr(wait.limits, part) or 0)
        for call in thread.parent_calls
        if isinstance(wait := call.wait, ChildrenStarted)
    )


# --- the end of a wait --------------------------------------------------------------------------


def awaited_runs(calls: Iterable[Call]) -> tuple[RunId, ...]:
    """Return the children that these calls wait for."""
    waits = (call.wait for call in calls if isinstance(call.wait, ChildrenStarted))
    return tuple(RunId.parse(run) for wait in waits for run in wait.runs)


def is_joined(wait: ChildrenStarted, statuses: Mapping[RunId, RunStatus]) -> bool:
    """Return whether a call waits no longer: enough of its children completed, or all are over."""
    found = [statuses[RunId.parse(run)] for run in wait.runs]
    if all(status in OVER for status in found):
        return True
    return 0 < _needed(wait) <= found.count("completed")


def _needed(wait: ChildrenStarted) -> int:
    """Return how many children must complete; 0: all of them must be over."""
    return {"first": 1, "quorum": wait.quorum}.get(wait.join, 0)


def end_children(
    call: Call, wait: ChildrenStarted, answers: Mapping[RunId, ChildAnswer]
) -> tuple[Event, ...]:
    """Return the entries of a call whose children have been joined."""
    found = [answers[RunId.parse(run)] for run in wait.runs]
    usage, by_model = NO_USAGE, NO_MODELS
    for one in found:
        usage += one.usage
        by_model = add_usage(by_model, one.usage_by_model.items())
    ended = WaitEnded(call.id, "children", usage=usage, usage_by_model=by_model)
    problem = _problem(wait, found)
    if problem:
        return ended, ToolFailed(call.id, call.tool, "child", f"Error: {problem}")
    if wait.join:
        return ended, ToolSucceeded(call.id, call.tool, _list_of(wait, found))
    answer = found[0]
    succeeded = ToolSucceeded(call.id, call.tool, answer.text)
    if not wait.hand_off:
        return ended, succeeded
    reply = ModelReplied(answer.items, Usage(), answer.workflow, "")
    return ended, succeeded, reply, RunFinished("completed")


def _problem(wait: ChildrenStarted, answers: Sequence[ChildAnswer]) -> str:
    """Return why the call has failed; "" if it has not."""
    completed = sum(answer.status == "completed" for answer in answers)
    needed = max(_needed(wait), 1)
    if completed >= needed:
        return ""
    problems = dict.fromkeys(one.problem for one in answers if one.status != "completed")
    if needed > 1:
        return f"{completed} of {needed} runs completed; " + "; ".join(problems)
    return "; ".join(problems)


def _list_of(wait: ChildrenStarted, answers: Sequence[ChildAnswer]) -> str:
    """Return the answers of a fan-out as a JSON list, in the order of its tasks."""
    chosen = _first_completed(answers, _needed(wait) or len(answers))
    return msgspec.json.encode(
        [
            _element(answer, shows_error=wait.join == "all") if index in chosen else None
            for index, answer in enumerate(answers)
        ]
    ).decode()


def _first_completed(answers: Sequence[ChildAnswer], most: int) -> set[int]:
    """Return the indexes of the answers that count; with "all" these are all of them."""
    if most == len(answers):
        return set(range(most))
    completed = (i for i, answer in enumerate(answers) if answer.status == "completed")
    return set([*completed][:most])


def _element(answer: ChildAnswer, *, shows_error: bool) -> object:
    if answer.status != "completed":
        return {"error": answer.problem} if shows_error else None
    return msgspec.Raw(answer.text.encode()) if answer.is_json else answer.text


# --- the end of the parent ----------------------------------------------------------------------


def runs_to_cancel(thread: Thread, events: Sequence[Event], status: RunStatus) -> tuple[RunId, ...]:
    """Return the children that these entries of their parent leave without a reader.

    All that it waits for when it ends; of a join of some of them, the others.
    """
    ended = {event.call for event in events if isinstance(event, WaitEnded)}
    is_over = status in OVER
    calls = [
        call
        for call in thread.parent_calls
        if (call.id in ended and _needed_of(call)) or (is_over and call.id not in ended)
    ]
    return awaited_runs(calls)


def _needed_of(call: Call) -> int:
    return _needed(call.wait) if isinstance(call.wait, ChildrenStarted) else 0


def final_status(events: Sequence[Event]) -> FinalStatus | None:
    """Return the status of a run after these entries; None if they do not end it."""
    return next((one.status for one in events if isinstance(one, RunFinished)), None)
