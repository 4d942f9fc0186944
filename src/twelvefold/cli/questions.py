"""`twelvefold runs questions`: the questions that wait for a person."""

from typing import Any

from twelvefold.cli.command import DONE, CommandContext, command
from twelvefold.cli.output import abbreviate, format_time, print_json, print_list, print_notice
from twelvefold.core import OpenQuestion


@command()
async def list_questions(
    context: CommandContext, *, principal: str, limit: int, as_json: bool
) -> int:
    """Print the newest questions that wait for the principal's answer."""
    found = await context.services.store.questions(principal, limit=limit + 1)
    shown = found[:limit]
    if as_json:
        for one in shown:
            print_json(_json(one))
    else:
        heads = ("RUN", "CALL", "WORKFLOW", "ASKED (UTC)", "UNTIL (UTC)", "QUESTION")
        print_list(heads, map(_cells, shown), empty=f"no open questions for {principal}")
    if len(found) > limit:
        print_notice("there are older questions; --limit N lists more")
    return DONE


def _cells(asked: OpenQuestion) -> tuple[str, ...]:
    times = format_time(asked.asked_us), format_time(asked.wait.until_us or None)
    return str(asked.run), asked.call, asked.workflow, *times, abbreviate(asked.wait.question, 60)


def _json(asked: OpenQuestion) -> dict[str, Any]:
    return {
        "run": str(asked.run),
        "call": asked.call,
        "workflow": asked.workflow,
        "person": asked.person,
        "question": asked.wait.question,
        "schema": asked.wait.schema or {},
        "asked_at_us": asked.asked_us,
        "until_us": asked.wait.until_us or None,
    }
