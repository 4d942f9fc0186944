"""Why a run failed, as a sentence for a person."""

from collections.abc import Sequence

from twelvefold.core.budget import Limits
from twelvefold.core.events import Entry, ToolError, ToolFailed

_REASONS = {
    "attempts": "every attempt at a step of the run ended without a result",
    "database": "the database reported an error that lasted",
    "unavailable": "a service that the run needs does not answer; try again later",
    "error": "an unexpected error stopped it; the log of the process says where",
    "tool_faults": "its tools raised exceptions too many times in a row",
    "empty_reply": "the model sent neither text nor a tool call, each time it was asked",
    "rejected": "the model does not take this request: it may be too long, or not allowed",
}
_LIMITS = {
    "max_steps": "MAX_STEPS",
    "token_budget": "RUN_BUDGET_TOKENS",
    "usd_budget": "RUN_BUDGET_USD",
    "deadline": "RUN_DEADLINE_S",
    "max_output_tokens": "OPENAI_MAX_OUTPUT_TOKENS",
    "conversation_entries": "MAX_CONVERSATION_ENTRIES",
    "conversation_bytes": "MAX_CONVERSATION_BYTES",
}
"""The setting behind each reason for which a run is incomplete."""
_TIMES = ("", "once", "twice", "three times", "four times", "five times", "six times")


def failure_sentence(reason: str, error: str = "") -> str:
    """Why a run failed; `reason` and `error` as in `RunFinished`, or the reason twice."""
    known = "" if error == reason else error
    return f"Run failed: {known or _REASONS.get(reason, reason) or 'no reason is recorded'}"


def incomplete_sentence(reason: str) -> str:
    """Why a run is incomplete, with the setting that bounds it."""
    return f"{reason} (the limit is {_LIMITS[reason]})" if reason in _LIMITS else reason


def full_sentence(reason: str, limits: Limits) -> str:
    """Why a conversation takes no more entries; `reason` as `conversation_full` gives it."""
    most = getattr(limits, reason)
    return (
        f"the conversation is full: {_LIMITS[reason]} is {most}; "
        "start a new conversation, or go on from an earlier response"
    )


def error_text(error: ToolError) -> str:
    """The exception as Python prints it: type and message."""
    return f"{error.type}: {error.message}" if error.message else error.type


def place_text(error: ToolError) -> str:
    """Where the tool raised it; "" where that is not known."""
    return f"{error.file}, line {error.line}" if error.file else ""


def faults_sentence(entries: Sequence[Entry], in_a_row: int) -> str:
    """What the last faults of a run were, `in_a_row` of them."""
    events = [entry.event for entry in entries]
    faults = [one for one in events if isinstance(one, ToolFailed) and one.failure == "fault"]
    last = faults[-in_a_row:]
    if not last or last[-1].error is None:
        return ""
    tool, error = last[-1].tool, last[-1].error
    message = f": {error.message}" if error.message else ""
    alike = all(one.tool == tool and one.error and one.error.type == error.type for one in last)
    if alike:
        return f"tool `{tool}` raised {error.type} {_times(in_a_row)} in a row{message}"
    return f"tools raised {_times(in_a_row)} in a row; the last was `{tool}`: {error_text(error)}"


def _times(count: int) -> str:
    return _TIMES[count] if count < len(_TIMES) else f"{count} times"
