"""The model request for a thread: instructions, the conversation, the tools that are open now.

A conversation that does not fit the model's window loses the results of its oldest tool calls
first, then its oldest turns; the same thread always loses the same. Instructions, the latest turn
and results that the model has not read yet are always sent whole. The first user message has no
place of its own: it goes with its turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from twelvefold.core.budget import Limits
from twelvefold.core.conversation.sendable import sendable
from twelvefold.core.conversation.turns import RESULT, Turn
from twelvefold.core.events import Item, size_of
from twelvefold.core.gates import open_tools
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.core.request_options import client_tools, options
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError

BYTES_PER_TOKEN = 3
"""Low on purpose: Chinese has one token a character, which is three bytes of UTF-8; English has
four bytes a token, JSON fewer."""
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

    Raises RequestError if what has to be sent is longer than the window.
    """
    asked = thread.options
    tools = (*(tool.spec for tool in open_tools(thread, workflow)), *client_tools(asked))
    instructions = _joined(workflow.instructions, asked.instructions)
    fitted = _fitted(thread, _room(instructions, tools, limits), limits)
    wanted = options(asked, tools, first=thread.steps == 0)
    request = ModelRequest(instructions, fitted.items, tools, wanted, asked.hops)
    return Compacted(request, fitted.results_left_out, fitted.turns_left_out)


def cut(text: str, length: int) -> str:
    """The beginning of a text, with a note that it is no more than that."""
    return f"{text[:length]}\n[cut here, after {length} of {len(text)} characters]"


def _joined(ours: str, theirs: str) -> str:
    return f"{ours}\n\n{theirs}" if ours and theirs else ours or theirs


def _room(instructions: str, tools: Sequence[ToolSpec], limits: Limits) -> int:
    """Bytes of the window that the conversation may fill."""
    fixed = size_of(instructions) + sum(tool.size for tool in tools)
    return int(limits.context_tokens * WINDOW_SHARE) * BYTES_PER_TOKEN - fixed


@dataclass(frozen=True, slots=True)
class _Fitted:
    items: tuple[Item, ...]
    results_left_out: int
    turns_left_out: int


def _fitted(thread: Thread, room: int, limits: Limits) -> _Fitted:
    """The conversation as it fits the room. Raises RequestError if it cannot."""
    turns, latest = thread.turns, len(thread.history.turns)
    needed = _first_needed(turns, latest)
    if thread.steps:
        # What the run brought along has been read since.
        turns = (*(replace(turn, unread=frozenset()) for turn in turns[:latest]), *turns[latest:])
    total = sum(turn.size for turn in turns)
    excess, before = total - room, -1
    while True:
        lighter, results = _without_results(turns, excess)
        saved = total - sum(turn.size for turn in lighter)
        gone = _turns_to_drop(lighter[:needed], excess - saved)
        items = sendable(item for turn in lighter[gone:] for item in turn.items)
        size = _json_size(items)
        if size <= room:
            return _Fitted(items, results, gone)
        if size == before:
            raise _too_long(size, room, items, limits)
        # Arguments that are no JSON are sent in an object, which is longer than the journal's text.
        excess, before = max(excess, 0) + size - room, size


def _first_needed(turns: Sequence[Turn], latest: int) -> int:
    """The index of the first turn that must be sent; `latest` is that of the latest run's first.

    A run that only brings results along continues the turn that called for them.
    """
    candidates = [index for index, turn in enumerate(turns) if turn.unread]
    candidates += [index for index, turn in enumerate(turns) if turn.items and index >= latest]
    if not candidates:
        candidates = [index for index, turn in enumerate(turns) if turn.items][-1:]
    return min(candidates, default=len(turns))


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
    """A turn's items with its oldest read results put away; the bytes saved; how many."""
    items: list[Item] = []
    saved = count = 0
    for index, item in enumerate(turn.items):
        if item.get("type") == RESULT and index not in turn.unread and saved < excess:
            output = item.get("output")
            note = f"[a result of {len(str(output))} characters was left out to save room]"
            gain = _json_size(output) - _json_size(note)
            if gain > 0:
                item = {**item, "output": note}
                saved, count = saved + gain, count + 1
        items.append(item)
    return tuple(items), saved, count


def _turns_to_drop(turns: Sequence[Turn], excess: int) -> int:
    """How many of these turns, oldest first, must go; all of them if that does not help."""
    gone = 0
    for turn in turns:
        if excess <= 0:
            break
        excess -= turn.size
        gone += 1
    return gone


def _too_long(size: int, room: int, items: Sequence[Item], limits: Limits) -> RequestError:
    words = sum(_json_size(item) for item in items if item.get("role") == "user")
    # Not where it is the instructions that are too long, or what the model has said.
    advice = "shorten the input, or " if room > 0 and words > size // 2 else ""
    return RequestError(
        f"this turn is about {size // BYTES_PER_TOKEN} tokens long, and a window of "
        f"{limits.context_tokens} leaves room for {max(room, 0) // BYTES_PER_TOKEN}; "
        f"{advice}set OPENAI_CONTEXT_TOKENS if the model's window is larger"
    )
