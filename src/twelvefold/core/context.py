"""The model request for a thread: instructions, the conversation, the tools that are open now.

A conversation that would not fit the model's window loses what is too much of the results that
the model is about to read, then the results of its oldest tool calls, then its oldest turns; the
same thread always loses the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from twelvefold.core.budget import Limits
from twelvefold.core.conversation import RESULT, Turn
from twelvefold.core.events import Item, size_of
from twelvefold.core.gates import open_tools
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.core.thread import Thread
from twelvefold.core.wishes import client_tools, options
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError

BYTES_PER_TOKEN = 3
"""Low on purpose: Chinese has one token a character, which is three bytes of UTF-8; English has
four bytes a token, JSON fewer."""
WINDOW_SHARE = 0.9
"""The rest of the window is for the reply."""
UNREAD_SHARE = 1 / 3
"""How much of the room the results of one reply may take, where it is wanting."""
NOTE_BYTES = 128
"""A result that is no longer is never cut: the note would be as long."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """A request, and what was left out of it for want of room."""

    request: ModelRequest
    results_cut: int = 0
    results_left_out: int = 0
    turns_left_out: int = 0


def build_request(thread: Thread, workflow: Workflow, limits: Limits) -> Compacted:
    """What to send to the model now.

    Raises RequestError if the latest turn alone is longer than the window.
    """
    asked = thread.asked
    tools = (*(tool.spec for tool in open_tools(thread, workflow)), *client_tools(asked))
    instructions = _joined(workflow.instructions, asked.instructions)
    turns, left_out = _fitted(thread.turns, _room(instructions, tools, limits))
    items = tuple(item for turn in turns for item in turn.items)
    wanted = options(asked, tools, first=thread.steps == 0)
    request = ModelRequest(instructions, items, tools, wanted, asked.hops)
    return Compacted(request, **left_out)


def cut(text: str, length: int) -> str:
    """The beginning of a text, with a note that it is no more than that."""
    return f"{text[:length]}\n[cut here, after {length} of {len(text)} characters]"


def _joined(ours: str, theirs: str) -> str:
    return f"{ours}\n\n{theirs}" if ours and theirs else ours or theirs


def _room(instructions: str, tools: Sequence[ToolSpec], limits: Limits) -> int:
    """Bytes of the window that the conversation may fill."""
    fixed = size_of(instructions) + sum(tool.size for tool in tools)
    return int(limits.context_tokens * WINDOW_SHARE) * BYTES_PER_TOKEN - fixed


def _fitted(turns: Sequence[Turn], room: int) -> tuple[Sequence[Turn], dict[str, int]]:
    """The turns as they fit the room, and what was left out of them by its name in `Compacted`."""
    if _size(turns) <= room:
        return turns, {}
    *before, latest = turns
    latest, results_cut = _with_unread_cut(latest, int(room * UNREAD_SHARE))
    turns = (*before, latest)
    turns, put_away = _without_results(turns, _size(turns) - room)
    turns, gone = _without_turns(turns, room)
    return turns, {"results_cut": results_cut, "results_left_out": put_away, "turns_left_out": gone}


def _size(turns: Sequence[Turn]) -> int:
    return sum(turn.size for turn in turns)


def _with_unread_cut(turn: Turn, most: int) -> tuple[Turn, int]:
    """The turn with its longest unread results cut so that all are at most so long; how many."""
    unread = turn.items[len(turn.items) - turn.unread :]
    sizes = [_json_size(item["output"]) for item in unread]
    if not sizes or sum(sizes) <= most:
        return turn, 0
    limit = max(_limit(sizes, most), NOTE_BYTES)
    items = [
        {**item, "output": _shortened(item["output"], limit)} if size > limit else item
        for item, size in zip(unread, sizes, strict=True)
    ]
    size = turn.size - sum(sizes) + sum(_json_size(item["output"]) for item in items)
    whole = turn.items[: len(turn.items) - turn.unread]
    return replace(turn, items=(*whole, *items), size=size), sum(one > limit for one in sizes)


def _limit(sizes: Sequence[int], most: int) -> int:
    """How long each may be, so that all are at most so long and none is cut without need."""
    rising = sorted(sizes)
    return max(
        (most - sum(rising[:whole])) // (len(rising) - whole) for whole in range(len(rising))
    )


def _shortened(text: str, limit: int) -> str:
    kept = text
    # More than once where what must be escaped is not spread evenly.
    while (size := _json_size(kept)) > limit - NOTE_BYTES // 2:
        kept = kept[: len(kept) * (limit - NOTE_BYTES // 2) // size]
    return cut(text, len(kept))


def _json_size(value: object) -> int:
    return len(msgspec.json.encode(value))


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
    """A turn's items with its oldest results put away; the bytes saved; how many."""
    results = sum(item.get("type") == RESULT for item in turn.items) - turn.unread
    items: list[Item] = []
    saved = count = 0
    for item in turn.items:
        if item.get("type") == RESULT and results > 0:
            results -= 1
            # What a caller brings along may be a list of parts, or anything.
            output = item.get("output", "")
            note = f"[a result of {len(str(output))} characters was left out to save room]"
            gain = _json_size(output) - _json_size(note)
            if gain > 0 and saved < excess:
                item = {**item, "output": note}
                saved, count = saved + gain, count + 1
        items.append(item)
    return tuple(items), saved, count


def _without_turns(turns: Sequence[Turn], room: int) -> tuple[tuple[Turn, ...], int]:
    """The turns that fit, the oldest left out. Raises RequestError if the latest alone does not."""
    size = _size(turns)
    left_out = 0
    while size > room and left_out < len(turns) - 1:
        size -= turns[left_out].size
        left_out += 1
    if size > room:
        # Not where it is the instructions that are too long, or what the model has said.
        advice = "; say it shorter" if room > 0 and turns[-1].words > size // 2 else ""
        raise RequestError(
            f"this turn is about {size // BYTES_PER_TOKEN} tokens long, more than the model's "
            f"window (OPENAI_CONTEXT_TOKENS) leaves room for ({max(room, 0) // BYTES_PER_TOKEN})"
            f"{advice}"
        )
    return tuple(turns[left_out:]), left_out
