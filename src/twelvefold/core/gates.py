"""Which tools a run may call now, and whether a call may run.

The gates of the tools are checked when tools are listed and again when a call runs.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from twelvefold.core.child_tool import ChildTool
from twelvefold.core.thread import Call, Thread
from twelvefold.core.tools.schema import BadArguments
from twelvefold.core.tools.tool import Tool
from twelvefold.core.workflow import RejectedCall, Workflow

_CHANGED = "the parameters have changed since a person approved this call; call the tool again"


class ValidCall(Struct, frozen=True):
    """A call that may run, with its parsed arguments.

    `resources` are further arguments, which the engine hands in before the tool is called.
    `began_us` is the database's time at the start of the call, 0 unless the tool may wait.
    """

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]
    resources: Mapping[str, object] = field(default_factory=dict)
    began_us: int = 0


def open_tools(thread: Thread, workflow: Workflow) -> tuple[Tool, ...]:
    """Return the tools to offer to the model, in the workflow's order."""
    return tuple(tool for tool in workflow.tools if why_closed(thread, tool) is None)


def why_closed(thread: Thread, tool: Tool, *, approved: bool = False) -> str | None:
    """Return the reason why the tool may not be called now, for the model; None if it may.

    `approved`: a person has approved this call, so the caller's `tool_choice` does not apply.
    """
    if thread.allowed_tools is not None and tool.name not in thread.allowed_tools:
        return f"{tool.name} cannot be called in this run; the caller's API key does not allow it"
    names = None if approved else thread.options.allowed_tools
    if names is not None and tool.name not in names:
        return f"{tool.name} cannot be called in this turn; the caller's tool_choice excludes it"
    most = thread.options.max_tool_calls
    if most is not None and sum(thread.called.values()) >= most:
        return f"{most} tools have been called in this turn, which is the maximum"
    for needed in tool.requires:
        if not thread.succeeded.get(needed):
            return f"{tool.name} can be called only after {needed} succeeded"
    if tool.after_refusal and not any(thread.refused.get(one) for one in tool.after_refusal):
        return f"{tool.name} can be called only after {' or '.join(tool.after_refusal)} refused"
    if tool.once and thread.succeeded.get(tool.name):
        return f"{tool.name} has succeeded and can be called only once"
    if tool.max_calls is not None and thread.called.get(tool.name, 0) >= tool.max_calls:
        return f"{tool.name} has been called {tool.max_calls} times, which is the maximum"
    return None


def validate_call(thread: Thread, workflow: Workflow, call: Call) -> ValidCall | RejectedCall:
    """Return the call with its parsed arguments, or the reasons why it may not run.

    Checks the tool, its gates and the arguments again, without regard to earlier checks.
    """
    tool = workflow.by_name.get(call.tool)
    if tool is None:
        offered = tuple(one.name for one in open_tools(thread, workflow))
        offered += tuple(str(tool.get("name", "")) for tool in thread.options.client_tools)
        problem = f"there is no tool {call.tool!r}; there are {', '.join(offered) or 'none now'}"
        return RejectedCall("unknown_tool", call.tool, call.arguments, (problem,), offered)
    if call.repeated:
        problem = f"call id {call.wire_id!r} came twice in one reply; only the first call was run"
        return RejectedCall("repeated", call.tool, call.arguments, (problem,))
    if closed := why_closed(thread, tool, approved=call.state == "approved"):
        return RejectedCall("not_open", call.tool, call.arguments, (closed,))
    if isinstance(tool, ChildTool) and tool.hand_off and not _is_alone(thread, call):
        problem = f"{tool.name} hands the conversation over; call it without other calls"
        return RejectedCall("not_open", call.tool, call.arguments, (problem,))
    try:
        valid = ValidCall(call, tool, tool.parameters.parse(call.arguments))
    except BadArguments as error:
        return RejectedCall("arguments", call.tool, call.arguments, error.problems)
    if call.state == "approved" and not thread.interrupted and _is_changed(valid):
        return RejectedCall("arguments", call.tool, call.arguments, (_CHANGED,))
    return valid


def _is_changed(valid: ValidCall) -> bool:
    """Return whether a default applies to an approved call that the person has not seen.

    A new release may add a parameter before the call runs.
    """
    text = valid.call.arguments
    return valid.tool.parameters.fill(text, valid.arguments) != text and needs_approval(valid)


def _is_alone(thread: Thread, call: Call) -> bool:
    """Return whether a pending call is the only one of its reply."""
    return call.number == 0 and len(thread.pending) == 1


def needs_approval(call: ValidCall) -> bool:
    """Return whether a person must approve the call.

    The approval function gets the arguments with which the call would run, defaults included. True
    if it raises, or has no answer: it may lack a `return`.
    """
    if not callable(call.tool.approval):
        return call.tool.approval
    try:
        answer = call.tool.approval(call.tool.parameters.with_defaults(call.arguments))
        return answer is None or bool(answer)
    except Exception:
        return True
