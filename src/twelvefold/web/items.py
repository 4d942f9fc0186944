"""Items in lists: what a request brought along, and all that a conversation holds."""

from collections.abc import Iterable, Sequence
from typing import cast

from twelvefold.core.events import (
    ApprovalAnswered,
    Entry,
    Item,
    ItemRemoved,
    ItemsAdded,
    RunStarted,
)
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.web import shapes
from twelvefold.web.ids import ResponseId, approval_answer_id, approval_id, input_id
from twelvefold.web.shapes import Json, ToolItems, ToolOutputs
from twelvefold.web.view import View
from twelvefold.web.wire import Telling, parts


def item_list(
    thread: ThreadId,
    entries: Sequence[Entry],
    *,
    tool_items: ToolItems = "mcp_call",
    tool_outputs: ToolOutputs = "full",
    wanted: str = "",
) -> list[Json]:
    """All items of a conversation, input and output, oldest first, without those taken out.

    `wanted` is how the reader wants the server's calls shown; without it each run's are as its
    caller wanted them, else as `tool_items` says. What a call came to in the end stands where it
    was first shown.
    """
    items: dict[str, Json] = {}
    for stretch in _stretches(entries):
        asked = "" if wanted else _tool_items_of(stretch[0])
        shown = cast("ToolItems", wanted or asked or tool_items)
        for item in _items_of(thread, stretch, shown, tool_outputs):
            items[item["id"]] = item
    for entry in entries:
        if isinstance(entry.event, ItemRemoved):
            items.pop(entry.event.item, None)
    return list(items.values())


def _tool_items_of(first: Entry) -> str:
    return first.event.asked.tool_items if isinstance(first.event, RunStarted) else ""


def _stretches(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """Runs, and what was put in between them, each by itself."""
    stretch: list[Entry] = []
    for entry in entries:
        if isinstance(entry.event, RunStarted | ItemsAdded) and stretch:
            yield stretch
            stretch = []
        if not isinstance(entry.event, ItemRemoved):
            stretch.append(entry)
    if stretch:
        yield stretch


def _items_of(
    thread: ThreadId, stretch: list[Entry], tool_items: ToolItems, tool_outputs: ToolOutputs
) -> Iterable[Json]:
    first = stretch[0]
    if not isinstance(first.event, RunStarted):
        yield from input_items(thread, first)
        return
    view = View(first.event.workflow, tool_items, tool_outputs, False, first.event)
    for number, part in enumerate(parts(stretch)):
        yield from input_items(thread, part[0])
        telling = Telling(ResponseId(RunId(thread, first.run), number), view)
        for entry in stretch:
            telling.feed(entry)
        yield from telling.response()["output"]


def input_items(thread: ThreadId, entry: Entry) -> list[Json]:
    """What an entry brought along, each item with its id, in order.

    That is what started a run or was put into the conversation, or what a person said to a
    request for approval.
    """
    match entry.event:
        case RunStarted(items=items) | ItemsAdded(items=items):
            return [
                _input_item(item, input_id(thread, entry.position, index, _type_of(item)))
                for index, item in enumerate(items)
            ]
        case ApprovalAnswered(call=call, approved=approved, reason=reason):
            id, request = approval_answer_id(thread, call), approval_id(thread, call)
            return [shapes.approval_response(id, request, approved, reason)]
        case _:
            return []


def _type_of(item: Item) -> str:
    return str(item.get("type") or "message")


def _input_item(item: Item, id: str) -> Json:
    """An item with all that the API's own schema wants of it."""
    match _type_of(item):
        case "message":
            status = item.get("status") or "completed"
            return item | {"type": "message", "content": _content(item), "status": status, "id": id}
        case "function_call" | "function_call_output":
            return item | {"status": item.get("status") or "completed", "id": id}
        case "reasoning":
            return {"summary": []} | item | {"id": id}
        case _:
            return item | {"id": id}


def _content(item: Item) -> list[Json]:
    content = item.get("content")
    if item.get("role") == "assistant":
        return shapes.content_of(item)
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    return [_input_part(part) for part in content or ()]


def _input_part(part: Item) -> Json:
    return {"detail": "auto"} | part if part.get("type") == "input_image" else part
