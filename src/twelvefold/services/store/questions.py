"""The row of a question, which the transaction of a step writes and removes."""

from typing import Any

from twelvefold.core import RunId, WaitStarted


def question_values(
    run: RunId, wait: WaitStarted, workflow: str, principal: str, position: int, at_us: int
) -> dict[str, Any]:
    """Return the parameters of `add_question`, for the entry at `position`.

    `workflow` and `principal` are those of the run.
    """
    return {
        "thread": run.thread,
        "call": wait.call,
        "ordinal": run.ordinal,
        "position": position,
        "person": wait.person or principal,
        "workflow": workflow,
        "asked_at": at_us,
        "expires_at": wait.until_us,
    }
