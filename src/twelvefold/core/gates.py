"""Which tools are open now; asked when they are listed and again when a call runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twelvefold.core.request_options import chosen, client_tools
from twelvefold.core.schema import BadArguments
from twelvefold.core.thread import Call, Thread
from twelvefold.core.workflow import RejectedCall, Tool, Workflow


@dataclass(frozen=True, slots=True)
class ValidCall:
    """A call that may run, with the arguments as its tool takes them."""

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]


def open_tools(thread: Thread, workflow: Workflow) -> tuple[Tool, ...]:
    """The tools to offer the model, in the workflow's order."""
    return tuple(tool for tool in workflow.tools if why_closed(thread, tool) is None)


def why_closed(thread: Thread, tool: Tool, *, allowed: bool = False) -> str | None:
    """Why the tool may not be called now, for the model to read; None if it may.

    `allowed`: a person has said yes to this very call, whatever the caller has chosen meanwhile.
    """
    names = None if allowed else chosen(thread.options)
    if names is not None and tool.name not in names:
        return f"{tool.name} cannot be called in this turn; the caller has not allowed it"
    most = thread.options.max_tool_calls
    if most is not None and sum(thread.called.values()) >= most:
        return f"{most} tools have been called in this turn already, which is all that may be"
    for needed in tool.requires:
        if not thread.succeeded.get(needed):
            return f"{tool.name} can be called only after {needed} succeeded"
    if tool.after_refusal and not any(thread.refused.get(one) for one in tool.after_refusal):
        return f"{tool.name} can be called only after {' or '.join(tool.after_refusal)} refused"
    if tool.once and thread.succeeded.get(tool.name):
        return f"{tool.name} has succeeded already and can be called only once"
    if tool.max_calls is not None and thread.called.get(tool.name, 0) >= tool.max_calls:
        return f"{tool.name} has been called {tool.max_calls} times already, which is all it may be"
    return None


def validate_call(thread: Thread, workflow: Workflow, call: Call) -> ValidCall | RejectedCall:
    """Check a call as if nobody had looked at it before."""
    tool = workflow.by_name.get(call.tool)
    if tool is None:
        offered = tuple(one.name for one in open_tools(thread, workflow))
        offered += tuple(one.name for one in client_tools(thread.options))
        problem = f"there is no tool {call.tool!r}; there are {', '.join(offered) or 'none now'}"
        return RejectedCall("unknown_tool", call.tool, call.arguments, (problem,), offered)
    if call.repeated:
        problem = f"call id {call.wire_id!r} came twice in one reply; only the first call was run"
        return RejectedCall("repeated", call.tool, call.arguments, (problem,))
    if closed := why_closed(thread, tool, allowed=call.state == "approved"):
        return RejectedCall("not_open", call.tool, call.arguments, (closed,))
    try:
        return ValidCall(call, tool, tool.parameters.parse(call.arguments))
    except BadArguments as error:
        return RejectedCall("arguments", call.tool, call.arguments, error.problems)


def needs_approval(admitted: ValidCall) -> bool:
    """Whether a person must allow the call. A predicate that raises asks for one."""
    if not callable(admitted.tool.approval):
        return admitted.tool.approval
    try:
        return bool(admitted.tool.approval(dict(admitted.arguments)))
    except Exception:
        return True
