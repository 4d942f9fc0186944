"""The reasons of failed and incomplete runs, as sentences for people."""

from collections.abc import Sequence

from twelvefold.core.budget import Limits
from twelvefold.core.conversation.turns import is_rejected
from twelvefold.core.events import Entry, ModelReplied, ToolError, ToolFailed

_REASONS = {
    "attempts": "every attempt at a step of the run ended without a result",
    "database": "the database reported an error that lasted",
    "unavailable": "a service that the run needs does not answer; try again later",
    "error": "an unexpected error stopped it; see the log of the process",
    "tool_faults": "its tools raised exceptions too many times in a row",
    "empty_reply": "the model sent neither text nor a tool call in every attempt",
    "invalid_output": "the model sent no output of the workflow's type in every attempt",
    "instructions": "the function that returns the workflow's instructions raised an exception",
    "insufficient_quota": "a budget has no room for the next call of its model",
    "rejected": "the model rejected the request: it may be too long, or not allowed",
}
_LIMITS = {
    "max_steps": "MAX_STEPS",
    "token_budget": "RUN_BUDGET_TOKENS",
    "usd_budget": "RUN_BUDGET_USD",
    "deadline": "RUN_DEADLINE_S",
    "max_output_tokens": "OPENAI_MAX_OUTPUT_TOKENS, or that of the model in MODELS",
    "conversation_entries": "MAX_CONVERSATION_ENTRIES",
    "conversation_bytes": "MAX_CONVERSATION_BYTES",
}
"""The setting behind each reason for which a run is incomplete."""
_TIMES = ("", "once", "twice", "three times", "four times", "five times", "six times")


def failure_sentence(reason: str, error: str = "") -> str:
    """Return why a run failed; `reason` and `error` as in `RunFinished`, or the reason twice."""
    known = "" if error == reason else error
    return f"Run failed: {known or _REASONS.get(reason, reason) or 'no reason is recorded'}"


def incomplete_sentence(reason: str) -> str:
    """Return why a run is incomplete, with the setting that limits it."""
    return f"{reason} (the limit is {_LIMITS[reason]})" if reason in _LIMITS else reason


def full_sentence(reason: str, limits: Limits) -> str:
    """Return why a conversation takes no more entries; `reason` is from `find_reached_limit`."""
    most = getattr(limits, reason)
    return (
        f"the conversation is full: {_LIMITS[reason]} is {most}; "
        "start a new conversation, or continue from an earlier response"
    )


def error_text(error: ToolError) -> str:
    """Return the exception as Python prints it: type and message."""
    return f"{error.type}: {error.message}" if error.message else error.type


def place_text(error: ToolError) -> str:
    """Return where the tool raised it; "" if that is not known."""
    return f"{error.file}, line {error.line}" if error.file else ""


def faults_sentence(entries: Sequence[Entry], in_a_row: int) -> str:
    """Return a sentence about the last `in_a_row` faults of a run; "" if they are not recorded."""
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


def invalid_output_sentence(entries: Sequence[Entry]) -> str:
    """Return a sentence about the invalid outputs of a run; "" if there are none."""
    replies = [one.event for one in entries if isinstance(one.event, ModelReplied)]
    rejected = [reply for reply in replies if is_rejected(reply)]
    if not rejected:
        return ""
    problems = "; ".join(rejected[-1].problems)
    return f"the model's output was invalid {_times(len(rejected))}; the last problems: {problems}"


def _times(count: int) -> str:
    return _TIMES[count] if count < len(_TIMES) else f"{count} times"
