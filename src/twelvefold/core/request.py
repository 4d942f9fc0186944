"""The next model request of a run: instructions, the conversation, the tools that are open now.

A conversation that is longer than the model's window is shortened: the results of the oldest tool
calls are replaced with notes, then the oldest turns are dropped. The same thread is always
shortened in the same way. The messages of the latest turn are always sent, and so are results that
the model has not read yet; results in that turn that it has read may be replaced. The first user
message is dropped with its turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from twelvefold.core.budget import BYTES_PER_TOKEN, Limits
from twelvefold.core.conversation.attachments import size_in_window
from twelvefold.core.conversation.history import items_size
from twelvefold.core.conversation.sendable import RESULT, make_sendable
from twelvefold.core.conversation.turns import Turn
from twelvefold.core.events import DEFAULT_OPTIONS, Item, RequestOptions, size_of
from twelvefold.core.gates import open_tools
from twelvefold.core.output import OutputType
from twelvefold.core.ports import KnownItems, ModelRequest, ToolSpec
from twelvefold.core.thread import Thread
from twelvefold.core.workflow import Workflow
from twelvefold.errors import RequestError

WINDOW_SHARE = 0.9
"""The rest of the window is for the reply."""

NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_PASSED_ON = ("max_output_tokens", "temperature", "top_p", "text", "reasoning")


class CompactedRequest(Struct, frozen=True):
    """A request, and how many results and turns were left out so that it fits the window."""

    request: ModelRequest
    results_left_out: int = 0
    turns_left_out: int = 0

    @property
    def is_shortened(self) -> bool:
        return bool(self.results_left_out or self.turns_left_out)


class _Compaction(Struct, frozen=True):
    """The items to send, and how many results and turns were left out of them.

    `history` are the first of them if they were prepared before.
    """

    items: tuple[Item, ...]
    results_left_out: int = 0
    turns_left_out: int = 0
    history: KnownItems | None = None


def build_request(
    thread: Thread, workflow: Workflow, limits: Limits, instructions: str = ""
) -> CompactedRequest:
    """Return the next request to the model.

    `instructions` is the text that the workflow's function has returned, if it has one. Raises
    RequestError if the part of the request that must be sent is longer than the window.
    """
    options = thread.options
    tools = (*(tool.spec for tool in open_tools(thread, workflow)), *client_tool_specs(options))
    own = workflow.instructions if isinstance(workflow.instructions, str) else instructions
    output = workflow.output_type
    # Some servers ignore the format of a request.
    note = output.note if output is not None and thread.invalid_outputs else ""
    instructions = "\n\n".join(filter(None, (own, options.instructions, note)))
    fixed_bytes = size_of(instructions) + sum(tool.size for tool in tools)
    if output is not None:
        fixed_bytes += output.size
    compaction = _compact(thread, fixed_bytes, limits)
    request = ModelRequest(
        instructions,
        compaction.items,
        tools,
        build_options(options, tools, first=thread.steps == 0, output=output),
        options.hops,
        compaction.history,
    )
    return CompactedRequest(request, compaction.results_left_out, compaction.turns_left_out)


def _compact(thread: Thread, fixed_bytes: int, limits: Limits) -> _Compaction:
    """Return the conversation in the room that `fixed_bytes` of the request leave in the window.

    Raises RequestError if the part that must be sent is longer.
    """
    room = int(limits.context_tokens * WINDOW_SHARE) * BYTES_PER_TOKEN - fixed_bytes
    turns, latest = thread.turns, len(thread.history.turns)
    if whole := _send_whole(thread, turns, room):
        return whole
    needed = _first_needed(turns, latest)
    if thread.steps:
        # The first reply of the run has read the results that the caller sent with it.
        turns = (*(replace(turn, unread=frozenset()) for turn in turns[:latest]), *turns[latest:])
    excess, before = sum(turn.size for turn in turns) - room, -1
    while True:
        compaction = _leave_out(turns, needed, excess)
        size = size_in_window(compaction.items)
        if size <= room:
            return compaction
        if size == before:
            raise _too_long(size, room, compaction.items, limits)
        # Arguments that are no JSON are sent in an object, which is longer than the journal's text.
        excess, before = max(excess, 0) + size - room, size


def _send_whole(thread: Thread, turns: Sequence[Turn], room: int) -> _Compaction | None:
    """Return the whole conversation if only its latest part must be prepared, and it fits."""
    sent = thread.history.sent
    if not sent.turns or sum(turn.size for turn in turns) > room:
        return None
    latest = sent.prepare([item for turn in turns[sent.turns :] for item in turn.items])
    if latest is None or sent.size + items_size(latest.items) + 1 > room:
        return None
    return _Compaction(sent.items + latest.items, history=sent.known)


def _first_needed(turns: Sequence[Turn], latest: int) -> int:
    """Return the index of the first turn that must be sent.

    `latest` is the index of the latest run's first turn. A run that has only results of the caller
    continues the turn that called for them.
    """
    candidates = [index for index, turn in enumerate(turns) if turn.unread]
    candidates += [index for index, turn in enumerate(turns) if turn.items and index >= latest]
    if not candidates:
        candidates = [index for index, turn in enumerate(turns) if turn.items][-1:]
    return min(candidates, default=len(turns))


def _leave_out(turns: Sequence[Turn], needed: int, excess: int) -> _Compaction:
    """Return the turns without `excess` bytes, or without all that may be left out.

    Turns from the index `needed` on are not dropped.
    """
    lighter, results = _replace_results(turns, excess)
    excess -= sum(turn.size for turn in turns) - sum(turn.size for turn in lighter)
    dropped = _count_dropped(lighter[:needed], excess)
    items = make_sendable([item for turn in lighter[dropped:] for item in turn.items])
    return _Compaction(items, results, dropped)


def _replace_results(turns: Sequence[Turn], excess: int) -> tuple[list[Turn], int]:
    """Return the turns with the oldest results replaced to save `excess` bytes, and how many."""
    lighter: list[Turn] = []
    replaced = 0
    for turn in turns:
        if excess > 0:
            items, saved, count = _replace_results_of(turn, excess)
            lighter.append(replace(turn, items=items, size=turn.size - saved))
            excess, replaced = excess - saved, replaced + count
        else:
            lighter.append(turn)
    return lighter, replaced


def _replace_results_of(turn: Turn, excess: int) -> tuple[tuple[Item, ...], int, int]:
    """Return the items with the oldest read results replaced, the bytes saved, and how many."""
    items: list[Item] = []
    saved = count = 0
    for index, item in enumerate(turn.items):
        if item.get("type") == RESULT and index not in turn.unread and saved < excess:
            output = item.get("output")
            note = f"[a result of {len(str(output))} characters was left out to save room]"
            gain = size_in_window(output) - size_in_window(note)
            if gain > 0:
                item = {**item, "output": note}
                saved, count = saved + gain, count + 1
        items.append(item)
    return tuple(items), saved, count


def _count_dropped(turns: Sequence[Turn], excess: int) -> int:
    """Return how many of these turns, oldest first, make up the excess; all if they do not."""
    dropped = 0
    for turn in turns:
        if excess <= 0:
            break
        excess -= turn.size
        dropped += 1
    return dropped


def _too_long(size: int, room: int, items: Sequence[Item], limits: Limits) -> RequestError:
    input_size = sum(size_in_window(item) for item in items if item.get("role") == "user")
    # A shorter input does not help if the instructions or the model's own items are too long.
    advice = "shorten the input, or " if room > 0 and input_size > size // 2 else ""
    return RequestError(
        f"this turn is about {size // BYTES_PER_TOKEN} tokens long, and a window of "
        f"{limits.context_tokens} leaves room for {max(room, 0) // BYTES_PER_TOKEN}; "
        f"{advice}set {limits.window_setting} if the model's window is larger"
    )


def client_tool_specs(options: RequestOptions) -> tuple[ToolSpec, ...]:
    """Return the caller's own tools that may be called in the run, in the caller's order."""
    return tuple(map(_spec, options.client_tools))


def _spec(tool: Item) -> ToolSpec:
    return ToolSpec(
        name=str(tool.get("name", "")),
        description=str(tool.get("description") or ""),
        parameters=tool.get("parameters") or NO_PARAMETERS,
        # In strict mode a server refuses a schema that was not written for it.
        strict=tool.get("strict") is True,
    )


def build_options(
    options: RequestOptions,
    tools: Sequence[ToolSpec],
    *,
    first: bool,
    output: OutputType | None = None,
) -> dict[str, Any]:
    """Return the `options` of a model request; `first`: it is for the first reply of a run."""
    text = {} if output is None else {"text": {**(options.text or {}), "format": output.format}}
    if options is DEFAULT_OPTIONS:
        return text
    values = ((name, getattr(options, name)) for name in _PASSED_ON)
    built = {name: value for name, value in values if value is not None} | text
    if options.stop:
        built["stop"] = list(options.stop)
    if not tools:
        # Servers refuse options about tools in a request without tools.
        return built
    if options.parallel_tool_calls is not None:
        built["parallel_tool_calls"] = options.parallel_tool_calls
    if (first or options.choice_holds) and (
        choice := _build_tool_choice(options.tool_choice, tools)
    ):
        built["tool_choice"] = choice
    return built


def _build_tool_choice(choice: str | Item | None, tools: Sequence[ToolSpec]) -> str | Item | None:
    """Return the `tool_choice` that makes the model call a tool; None if it need not."""
    if choice == "required":
        return choice
    if not isinstance(choice, dict):
        return None
    if choice.get("type") == "allowed_tools":
        return "required" if choice.get("mode") == "required" else None
    name = choice.get("name")
    # A tool whose gate is closed is not in the request, and a server refuses a choice of it.
    if any(tool.name == name for tool in tools):
        return {"type": "function", "name": name}
    return None
