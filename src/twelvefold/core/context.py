"""The model request for a thread: instructions, the conversation, the tools that are open now.

A conversation that would not fit the model's window loses the results of its oldest tool calls
first, then its oldest turns; the same thread always loses the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twelvefold.core.budget import Limits
from twelvefold.core.conversation import RESULT, Turn, turns_of
from twelvefold.core.events import Item
from twelvefold.core.gates import open_tools
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError

CHARS_PER_TOKEN = 3
"""Low on purpose: English has about four, JSON and other languages fewer."""
WINDOW_SHARE = 0.9
"""The rest of the window is for the reply."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """A request, and what was left out of it for want of room."""

    request: ModelRequest
    results_left_out: int = 0
    turns_left_out: int = 0


def build_request(thread: Thread, workflow: Workflow, limits: Limits) -> Compacted:
    """What to send to the model now.

    Raises RequestError if the latest turn alone is longer than the window.
    """
    tools = tuple(tool.spec for tool in open_tools(thread, workflow))
    turns = (*thread.past.turns, *turns_of(thread.latest))
    room = _room(workflow, tools, limits)
    excess = sum(turn.size for turn in turns) - room
    results_left_out = turns_left_out = 0
    if excess > 0:
        turns, results_left_out = _without_results(turns, excess)
        turns, turns_left_out = _without_turns(turns, room)
    items = tuple(item for turn in turns for item in turn.items)
    request = ModelRequest(workflow.instructions, items, tools)
    return Compacted(request, results_left_out, turns_left_out)


def _room(workflow: Workflow, tools: Sequence[ToolSpec], limits: Limits) -> int:
    """Characters of the window that the conversation may fill."""
    fixed = len(workflow.instructions)
    fixed += sum(len(tool.description) + tool.parameters_size for tool in tools)
    return int(limits.context_tokens * WINDOW_SHARE) * CHARS_PER_TOKEN - fixed


def _without_results(turns: Sequence[Turn], excess: int) -> tuple[tuple[Turn, ...], int]:
    """The turns with so many of their oldest results put away that the excess is gone."""
    lighter: list[Turn] = []
    left_out = 0
    for turn in turns:
        if excess > 0:
            items, saved, count = _put_away(turn, excess)
            lighter.append(replace(turn, items=items, size=turn.size - saved))
            excess, left_out = excess - saved, left_out + count
        else:
            lighter.append(turn)
    return tuple(lighter), left_out


def _put_away(turn: Turn, excess: int) -> tuple[tuple[Item, ...], int, int]:
    """A turn's items with its oldest results put away; the characters saved; how many."""
    results = sum(item.get("type") == RESULT for item in turn.items) - turn.unread
    items: list[Item] = []
    saved = count = 0
    for item in turn.items:
        if item.get("type") == RESULT and results > 0:
            results -= 1
            # What a caller brings along may be a list of parts, or anything.
            length = len(str(item.get("output", "")))
            note = f"[a result of {length} characters was left out to save room]"
            gain = length - len(note)
            if gain > 0 and saved < excess:
                item = {**item, "output": note}
                saved, count = saved + gain, count + 1
        items.append(item)
    return tuple(items), saved, count


def _without_turns(turns: Sequence[Turn], room: int) -> tuple[tuple[Turn, ...], int]:
    """The turns that fit, the oldest left out. Raises RequestError if the latest alone does not."""
    size = sum(turn.size for turn in turns)
    left_out = 0
    while size > room and left_out < len(turns) - 1:
        size -= turns[left_out].size
        left_out += 1
    if size > room:
        raise RequestError(
            f"this turn is about {size // CHARS_PER_TOKEN} tokens long, more than the model's "
            f"window leaves room for ({max(room, 0) // CHARS_PER_TOKEN}); say it shorter"
        )
    return tuple(turns[left_out:]), left_out
