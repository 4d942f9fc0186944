"""Items in lists: those of a request's input, and those of its output."""

from collections.abc import Sequence

from twelvefold.core import (
    ApprovalAnswered,
    ChildAnswered,
    Entry,
    Item,
    ItemsAdded,
    RunId,
    RunStarted,
    ThreadId,
)
from twelvefold.web.ids import ResponseId, approval_answer_id, approval_id, input_id
from twelvefold.web.projection import objects
from twelvefold.web.projection.response import ResponseProjection, split_parts
from twelvefold.web.schemas import InputFiles, Json, ToolItems, ToolOutputs


def run_items(
    thread: ThreadId,
    entries: Sequence[Entry],
    tool_items: ToolItems,
    tool_outputs: ToolOutputs,
    input_files: InputFiles = "full",
) -> list[Json]:
    """Return the input of a run's first entry and the output of these entries of the run."""
    first = entries[0]
    assert isinstance(first.event, RunStarted)  # noqa: S101 - a run starts with this event
    label = objects.label_of(first.event.workflow, first.event.options)
    view = objects.ResponseView(label, tool_items, tool_outputs, False, first.event)
    items: dict[str, Json] = {}
    for number, part in enumerate(split_parts(entries)):
        projection = ResponseProjection(ResponseId(RunId(thread, first.run), number), view)
        projection.position = first.position - 1
        for entry in entries:
            projection.feed(entry)
        output = projection.response()["output"]
        given = input_items(thread, part[0], input_files)
        # The final state of an item stands where the item was first shown.
        items |= {item["id"]: item for item in (*given, *output)}
    return list(items.values())


def input_items(thread: ThreadId, entry: Entry, files: InputFiles = "full") -> list[Json]:
    """Return the input of an entry, each item with its id, in order.

    `files`: how images and files are shown.

    That is the input of a run, items that were added to the conversation, or an approval response.
    """
    event = entry.event
    match event:
        case RunStarted(items=items) | ItemsAdded(items=items):
            return [
                _input_item(item, input_id(thread, entry.position, index, _type_of(item)), files)
                for index, item in enumerate(items)
            ]
        case ApprovalAnswered(call=call, approved=approved, reason=reason):
            id, request = approval_answer_id(thread, call), approval_id(thread, call)
            return [objects.approval_response(id, request, approved, reason)]
        case ChildAnswered(child_call=call, is_approval=True):
            child = RunId.parse(event.run).thread
            id, request = approval_answer_id(child, call), approval_id(child, call)
            return [objects.approval_response(id, request, event.approved, event.reason)]
        case _:
            return []


def _type_of(item: Item) -> str:
    return str(item.get("type") or "message")


def _input_item(item: Item, id: str, files: InputFiles) -> Json:
    """Return an item with all fields that the API's own schema requires."""
    match _type_of(item):
        case "message":
            status = item.get("status") or "completed"
            content = _content(item, files)
            return item | {"type": "message", "content": content, "status": status, "id": id}
        case "function_call_output" if isinstance(output := item.get("output"), list):
            status = item.get("status") or "completed"
            return item | {"output": _input_parts(output, files), "status": status, "id": id}
        case "function_call" | "function_call_output":
            return item | {"status": item.get("status") or "completed", "id": id}
        case "reasoning":
            return {"summary": []} | item | {"id": id}
        case _:
            return item | {"id": id}


def _content(item: Item, files: InputFiles) -> list[Json]:
    content = item.get("content")
    if item.get("role") == "assistant":
        return objects.content_of(item)
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    return _input_parts(content or (), files)


def _input_parts(parts: Sequence[Item], files: InputFiles) -> list[Json]:
    return [
        {"detail": "auto"} | part if part.get("type") == "input_image" else part
        for part in objects.shown_parts(parts, files)
    ]
