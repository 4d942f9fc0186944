"""Items in lists: what a request brought along, and what came of it."""

from collections.abc import Sequence

from twelvefold.core.events import ApprovalAnswered, Entry, Item, ItemsAdded, RunStarted
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.web.ids import ResponseId, approval_answer_id, approval_id, input_id
from twelvefold.web.projection import objects as shapes
from twelvefold.web.projection.response import ResponseProjection, parts
from twelvefold.web.projection.view import View
from twelvefold.web.schemas.types import Json, ToolItems, ToolOutputs


def run_items(
    thread: ThreadId, entries: Sequence[Entry], tool_items: ToolItems, tool_outputs: ToolOutputs
) -> list[Json]:
    """What a run's first entry brought along, and what came of it, by these entries of it."""
    first = entries[0]
    assert isinstance(first.event, RunStarted)  # noqa: S101 - nothing else begins a run
    view = View(first.event.workflow, tool_items, tool_outputs, False, first.event)
    items: dict[str, Json] = {}
    for number, part in enumerate(parts(entries)):
        projection = ResponseProjection(ResponseId(RunId(thread, first.run), number), view)
        projection.position = first.position - 1
        for entry in entries:
            projection.feed(entry)
        output = projection.response()["output"]
        # What became of an item that is there already stands where that was shown first.
        items |= {item["id"]: item for item in (*input_items(thread, part[0]), *output)}
    return list(items.values())


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
