"""What happens next in a run, decided from its journal alone.

Pure and total: any prefix of any journal has exactly one decision. `twelvefold.engine.step`
carries decisions out.
"""

from dataclasses import dataclass

from twelvefold.core.budget import Limits, conversation_full, overspent
from twelvefold.core.events import FinalStatus, ReplyEnd
from twelvefold.core.failures import faults_sentence, full_sentence
from twelvefold.core.gates import ValidCall, needs_approval, validate_call
from twelvefold.core.thread import Call, Thread
from twelvefold.core.workflow import RejectedCall, Tool, Workflow

SIDE_BY_SIDE = ("readonly", "pure")
"""Effects that leave no trace, so that neighbouring calls need not wait for one another."""

BYTES_PER_CHAR = 6
"""The most that a character of a result takes in the journal: a control character as `\\u0001`."""
REJECTION_BYTES = 512
"""About the longest entry of a call that is not run."""
EMPTY_REPLIES = 3
"""How often a model that has said nothing is asked again before the run fails."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask the model for a reply."""


@dataclass(frozen=True, slots=True)
class RunTools:
    """Answer these calls: one that has an effect, or several that have none."""

    calls: tuple[ValidCall | RejectedCall, ...]
    """As admitted now, in the order of `pending`."""
    pending: tuple[Call, ...]
    all_pending: bool
    """Whether no other call of the reply waits behind these."""


@dataclass(frozen=True, slots=True)
class AskApproval:
    """Write down that a person must allow this call, then rest."""

    call: Call


@dataclass(frozen=True, slots=True)
class AskOutcome:
    """Write down that nobody knows whether this call happened, then rest."""

    call: Call


@dataclass(frozen=True, slots=True)
class Finish:
    """The model has said its last word, or what it wants to know is the caller's to find out."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the run short of its goal."""

    status: FinalStatus
    reason: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until somebody says something."""


Decision = CallModel | RunTools | AskApproval | AskOutcome | Finish | Stop | Rest


def decide(thread: Thread, workflow: Workflow, limits: Limits) -> Decision:
    """The next thing to do for the thread's latest run."""
    if thread.status != "active":
        return Rest()
    if thread.faults_in_a_row >= limits.faults_in_a_row:
        error = faults_sentence(thread.latest, thread.faults_in_a_row)
        return Stop("failed", "tool_faults", error)
    if thread.pending:
        return _decide_calls(thread, workflow, limits)
    if thread.empty_replies > EMPTY_REPLIES:
        return Stop("failed", "empty_reply")
    if thread.reply_ended is not None and not thread.empty_replies:
        return _after_last_word(thread.reply_ended)
    if thread.steps >= limits.max_steps:
        return Stop("incomplete", "max_steps")
    if reason := overspent(thread.usage, limits):
        return Stop("incomplete", reason)
    return _stop_if_full(thread, limits) or CallModel()


def _stop_if_full(thread: Thread, limits: Limits) -> Stop | None:
    """The end of a run whose conversation is as large as it may be.

    What is written already may have passed the limit: the reply, or one result.
    """
    reason = conversation_full(thread.head, thread.size, limits)
    if reason is None:
        return None
    return Stop("incomplete", reason, full_sentence(reason, limits))


def _after_last_word(ended: ReplyEnd) -> Decision:
    return Finish() if ended == "completed" else Stop("incomplete", ended)


def in_doubt(thread: Thread, workflow: Workflow, limits: Limits) -> Call | None:
    """The call with an effect elsewhere that whoever has the run is about: it may have happened.

    An idempotent one, too: when the run ends with it, its key ends, and the model would call again
    under another.
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
    if thread.waits:
        return Rest()
    first = thread.pending[0]
    if first.state == "client":
        return Finish()
    # A call that a person has allowed is run, and so is one that may have begun.
    is_new = first.state == "open" and not thread.interrupted
    if is_new and (stop := _stop_if_full(thread, limits)):
        return stop
    admitted = _admitted(thread, workflow, limits, first)
    if isinstance(admitted, ValidCall):
        # Before the other: what nobody has allowed yet cannot have begun.
        if first.state == "open" and needs_approval(admitted):
            return AskApproval(first)
        if thread.interrupted and admitted.tool.effect == "unsafe":
            return AskOutcome(first)
    group = _group(thread, workflow, limits, admitted)
    return RunTools(group, thread.pending[: len(group)], len(group) == len(thread.pending))


def _admitted(
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
    """Whether the reply had as many calls as it may before this one, which has not begun."""
    is_new = call.state == "open" and not thread.interrupted
    return is_new and call.number >= limits.calls_per_reply


def _group(
    thread: Thread, workflow: Workflow, limits: Limits, first: ValidCall | RejectedCall
) -> tuple[ValidCall | RejectedCall, ...]:
    """The first call and those right behind it that can be answered side by side with it.

    Only calls without limits go together: a gate must see what the call before it has done. So
    many as have room in the conversation however long their results are, at least the first.
    """
    is_surplus = _is_surplus(thread, limits, thread.pending[0])
    alone = not _is_free(first) or thread.options.max_tool_calls is not None
    if alone and not is_surplus:
        return (first,)
    longest = REJECTION_BYTES if is_surplus else limits.result_chars * BYTES_PER_CHAR
    group = [first]
    for call in thread.pending[1 : _room(thread, limits, longest)]:
        admitted = _admitted(thread, workflow, limits, call)
        if call.state != "open" or not (is_surplus or _is_free(admitted)):
            break
        group.append(admitted)
    return tuple(group)


def _room(thread: Thread, limits: Limits, longest: int) -> int:
    """How many more entries, each so many bytes long, the conversation takes; 1 if it is full."""
    entries = limits.conversation_entries - thread.head
    return max(min(entries, (limits.conversation_bytes - thread.size) // longest), 1)


def _is_free(admitted: ValidCall | RejectedCall) -> bool:
    if isinstance(admitted, RejectedCall):
        # A closed gate may have been opened by the call in front.
        return admitted.failure != "not_open"
    tool = admitted.tool
    return (
        tool.effect in SIDE_BY_SIDE and tool.max_calls is None and not (tool.once or tool.approval)
    )
