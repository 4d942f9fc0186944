"""Decide what happens next in a run, from its journal alone.

Pure and total: every prefix of a journal has exactly one decision. `twelvefold.engine.step` carries
decisions out.
"""

from collections.abc import Mapping
from dataclasses import replace

from msgspec import Struct

from twelvefold.core.budget import Limits, run_cost_micro_usd
from twelvefold.core.events import ChildLimits, FinalStatus, ReplyEnd, Usage
from twelvefold.core.failures import faults_sentence, full_sentence, invalid_output_sentence
from twelvefold.core.gates import ValidCall, needs_approval, validate_call
from twelvefold.core.thread import Call, Thread
from twelvefold.core.tools.tool import Tool
from twelvefold.core.workflow import RejectedCall, Workflow

CONCURRENT_EFFECTS = ("readonly", "pure")
"""Effects that change nothing, so adjacent calls may run at the same time."""

MAX_BYTES_PER_CHAR = 6
"""The longest form of a character in the journal: a control character as `\\u0001`."""
MAX_REJECTION_BYTES = 512
"""About the longest entry of a call that is not run."""
_NO_MODELS: Mapping[str, Usage] = {}
MAX_EMPTY_REPLIES = 3
"""Empty replies in a row after which the model is called again; one more fails the run."""
NO_LIMITS = ChildLimits()


class CallModel(Struct, frozen=True):
    """Request a reply from the model."""


class RunTools(Struct, frozen=True):
    """Run or reject these calls: one with an effect, or several without.

    `calls` are in the order of `pending`. `all_pending`: no other call of the reply follows.
    """

    calls: tuple[ValidCall | RejectedCall, ...]
    pending: tuple[Call, ...]
    all_pending: bool


class AskApproval(Struct, frozen=True):
    """Record that a person must approve this call; the run then waits.

    `timeout_s`: how long it waits; None: without a limit. `is_timed`: time, an event or another run
    may continue the run, too. `arguments` are those of the call with the defaults that apply, as
    the text of a JSON object; "": they are those of the model.
    """

    call: Call
    timeout_s: float | None = None
    is_timed: bool = False
    arguments: str = ""


class AskOutcome(Struct, frozen=True):
    """Record that the outcome of this call is unknown; the run then waits.

    `is_timed` as in AskApproval.
    """

    call: Call
    is_timed: bool = False


class Await(Struct, frozen=True):
    """End the waits of these calls that time, events or other runs have decided; else wait."""

    calls: tuple[Call, ...]


class Finish(Struct, frozen=True):
    """Complete the run: the reply has no calls, or the caller runs the rest of them."""


class Stop(Struct, frozen=True):
    """End the run as incomplete or failed."""

    status: FinalStatus
    reason: str
    error: str = ""


class Idle(Struct, frozen=True):
    """Do nothing: the run is over or waits for a person."""


Decision = CallModel | RunTools | AskApproval | AskOutcome | Await | Finish | Stop | Idle


def decide(thread: Thread, workflow: Workflow, limits: Limits) -> Decision:
    """Return what to do next for the thread's latest run."""
    if thread.status != "active":
        return Idle()
    if thread.faults_in_a_row >= limits.faults_in_a_row:
        error = faults_sentence(thread.latest, thread.faults_in_a_row)
        return Stop("failed", "tool_faults", error)
    if thread.pending:
        return _decide_calls(thread, workflow, limits)
    if thread.empty_replies > MAX_EMPTY_REPLIES:
        return Stop("failed", "empty_reply")
    if thread.reply_ended is not None and not thread.empty_replies:
        return _finish(thread.reply_ended)
    if thread.invalid_outputs > workflow.output_corrections:
        return Stop("failed", "invalid_output", invalid_output_sentence(thread.latest))
    if thread.steps >= limits.max_steps:
        return Stop("incomplete", "max_steps")
    own = limits_of(thread, limits)
    if reason := find_exhausted_budget(thread.usage, own, thread.usage_by_model):
        return Stop("incomplete", reason)
    return _stop_if_full(thread, limits) or CallModel()


def _stop_if_full(thread: Thread, limits: Limits) -> Stop | None:
    """Return the end of a run whose conversation has reached its maximum size, else None.

    The last reply or result may have passed the limit.
    """
    reason = find_reached_limit(thread.head, thread.size, limits)
    if reason is None:
        return None
    return Stop("incomplete", reason, full_sentence(reason, limits))


def find_exhausted_budget(
    usage: Usage, limits: Limits, by_model: Mapping[str, Usage] = _NO_MODELS
) -> str | None:
    """Return the exhausted budget, as the reason of a run's end; None if there is none.

    `by_model` is the part of the usage that has a named model.
    """
    if limits.run_tokens is not None and usage.total_tokens >= limits.run_tokens:
        return "token_budget"
    if limits.run_micro_usd is None or (limits.price is None and not limits.prices):
        return None
    cost = run_cost_micro_usd(usage, by_model, limits)
    return "usd_budget" if cost >= limits.run_micro_usd else None


def find_reached_limit(entries: int, size: int, limits: Limits) -> str | None:
    """Return the limit that a journal has reached, as the reason of a run's end; None if neither.

    `size` is in bytes.
    """
    if entries >= limits.conversation_entries:
        return "conversation_entries"
    return "conversation_bytes" if size >= limits.conversation_bytes else None


def _finish(ended: ReplyEnd) -> Decision:
    return Finish() if ended == "completed" else Stop("incomplete", ended)


def in_doubt(thread: Thread, workflow: Workflow, limits: Limits) -> Call | None:
    """Return the pending call with an external effect that may have happened, if there is one.

    Includes idempotent calls: if the run ends, so does the idempotency key, and the model would
    repeat the call under another one.
    """
    match decide(thread, workflow, limits):
        case (
            AskOutcome(call=call)
            | RunTools(calls=[ValidCall(call=call, tool=Tool(effect="unsafe" | "idempotent"))])
        ):
            return call
        case _:
            return None


def _decide_calls(thread: Thread, workflow: Workflow, limits: Limits) -> Decision:
    calls = thread.next_calls
    rests = thread.rests or calls[0].state == "client"
    if rests and (timed := thread.timed_calls):
        return Await(timed)
    if thread.waits:
        return Idle()
    first = calls[0]
    if first.state == "client":
        return Finish()
    # A full conversation does not stop a call that was approved or that may have begun.
    is_new = first.state == "open" and not thread.interrupted
    if is_new and (stop := _stop_if_full(thread, limits)):
        return stop
    call = _validate(thread, workflow, limits, first)
    if isinstance(call, ValidCall):
        # Checked first: a call without its approval cannot have begun.
        if first.state == "open" and needs_approval(call):
            return _ask_approval(thread, call)
        if thread.interrupted and call.tool.effect == "unsafe":
            return AskOutcome(first, bool(thread.timed_calls))
    group = _group(thread, workflow, limits, call)
    return RunTools(group, calls[: len(group)], len(group) == len(thread.pending))


def _ask_approval(thread: Thread, valid: ValidCall) -> AskApproval:
    tool, given = valid.tool, valid.call.arguments
    is_timed = tool.approval_timeout_s is not None or bool(thread.timed_calls)
    filled = tool.parameters.fill(given, valid.arguments)
    shown = "" if filled == given else filled
    return AskApproval(valid.call, tool.approval_timeout_s, is_timed, shown)


def _validate(
    thread: Thread, workflow: Workflow, limits: Limits, call: Call
) -> ValidCall | RejectedCall:
    if not _is_surplus(thread, limits, call):
        return validate_call(thread, workflow, call)
    problem = (
        f"not run: a reply may have at most {limits.calls_per_reply} tool calls; "
        "call again in smaller groups"
    )
    return RejectedCall("not_open", call.tool, call.arguments, (problem,))


def _is_surplus(thread: Thread, limits: Limits, call: Call) -> bool:
    """Return whether the call exceeds the calls of a reply; a call that may have begun does not."""
    is_new = call.state == "open" and not thread.interrupted
    return is_new and call.number >= limits.calls_per_reply


def _group(
    thread: Thread, workflow: Workflow, limits: Limits, first: ValidCall | RejectedCall
) -> tuple[ValidCall | RejectedCall, ...]:
    """Return the first call and those after it that may run at the same time.

    Calls with a limit run alone: a gate must see the result of the call before. The group has at
    most as many calls as the conversation has room for, if each has the longest result; at least
    one.
    """
    pending = thread.next_calls
    is_surplus = _is_surplus(thread, limits, pending[0])
    alone = not _is_independent(first) or thread.options.max_tool_calls is not None
    if alone and not is_surplus:
        return (first,)
    longest = MAX_REJECTION_BYTES if is_surplus else limits.result_chars * MAX_BYTES_PER_CHAR
    group = [first]
    for call in pending[1 : _room(thread, limits, longest)]:
        validated = _validate(thread, workflow, limits, call)
        if call.state != "open" or not (is_surplus or _is_independent(validated)):
            break
        group.append(validated)
    return tuple(group)


def _room(thread: Thread, limits: Limits, longest: int) -> int:
    """Return for how many more entries of `longest` bytes the conversation has room; at least 1."""
    entries = limits.conversation_entries - thread.head
    return max(min(entries, (limits.conversation_bytes - thread.size) // longest), 1)


def _is_independent(call: ValidCall | RejectedCall) -> bool:
    """Return whether the call's outcome does not depend on the call before it."""
    if isinstance(call, RejectedCall):
        # The call before it may have opened a closed gate.
        return call.failure != "not_open"
    tool = call.tool
    return (
        tool.effect in CONCURRENT_EFFECTS
        and tool.max_calls is None
        and not (tool.once or tool.approval or tool.may_wait)
    )


def limits_of(thread: Thread, limits: Limits) -> Limits:
    """Return the limits of a run: a child has those that its parent gave it, if they are lower."""
    own = thread.ancestry.limits if thread.ancestry else NO_LIMITS
    if own is NO_LIMITS or own == NO_LIMITS:
        return limits
    deadline_s = limits.deadline_s if own.deadline_s is None else own.deadline_s
    return replace(
        limits,
        run_tokens=_least(limits.run_tokens, own.tokens),
        run_micro_usd=_least(limits.run_micro_usd, own.micro_usd),
        deadline_s=min(limits.deadline_s, deadline_s),
    )


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)
