"""What happens next in a run, decided from its journal alone.

Pure and total: any prefix of any journal has exactly one decision. `twelvefold.engine.step`
carries decisions out.
"""

from dataclasses import dataclass

from twelvefold.core.budget import Limits, overspent
from twelvefold.core.events import FinalStatus, ReplyEnd
from twelvefold.core.failures import faults_sentence
from twelvefold.core.gates import Admitted, admit, needs_approval
from twelvefold.core.thread import Call, Thread
from twelvefold.core.workflow import BadCall, Tool, Workflow

SIDE_BY_SIDE = ("readonly", "pure")
"""Effects that leave no trace, so that neighbouring calls need not wait for one another."""

EMPTY_REPLIES = 3
"""How often a model that has said nothing is asked again before the run fails."""


@dataclass(frozen=True, slots=True)
class CallModel:
    """Ask the model for a reply."""


@dataclass(frozen=True, slots=True)
class RunTools:
    """Answer these calls: one that has an effect, or several that have none."""

    calls: tuple[Admitted | BadCall, ...]
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
        return _decide_calls(thread, workflow)
    if thread.empty_replies > EMPTY_REPLIES:
        return Stop("failed", "empty_reply")
    if thread.reply_ended is not None and not thread.empty_replies:
        return _after_last_word(thread.reply_ended)
    if thread.steps >= limits.max_steps:
        return Stop("incomplete", "max_steps")
    if reason := overspent(thread.usage, limits):
        return Stop("incomplete", reason)
    return CallModel()


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
            | RunTools(calls=[Admitted(call=call, tool=Tool(effect="unsafe" | "idempotent"))])
        ):
            return call
        case _:
            return None


def _decide_calls(thread: Thread, workflow: Workflow) -> Decision:
    if thread.waits:
        return Rest()
    first = thread.pending[0]
    if first.state == "client":
        return Finish()
    admitted = admit(thread, workflow, first)
    if isinstance(admitted, Admitted):
        # Before the other: what nobody has allowed yet cannot have begun.
        if first.state == "open" and needs_approval(admitted):
            return AskApproval(first)
        if thread.interrupted and admitted.tool.effect == "unsafe":
            return AskOutcome(first)
    group = _group(thread, workflow, admitted)
    return RunTools(group, thread.pending[: len(group)], len(group) == len(thread.pending))


def _group(
    thread: Thread, workflow: Workflow, first: Admitted | BadCall
) -> tuple[Admitted | BadCall, ...]:
    """The first call and those right behind it that can be answered side by side with it.

    Only calls without limits go together: a gate must see what the call before it has done.
    """
    group = [first]
    if not _is_free(first) or thread.asked.max_tool_calls is not None:
        return tuple(group)
    for call in thread.pending[1:]:
        admitted = admit(thread, workflow, call)
        if call.state != "open" or not _is_free(admitted):
            break
        group.append(admitted)
    return tuple(group)


def _is_free(admitted: Admitted | BadCall) -> bool:
    if isinstance(admitted, BadCall):
        # A closed gate may have been opened by the call in front.
        return admitted.failure != "not_open"
    tool = admitted.tool
    return (
        tool.effect in SIDE_BY_SIDE and tool.max_calls is None and not (tool.once or tool.approval)
    )
