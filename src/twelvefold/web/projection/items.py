"""Items in lists: those of a request's input, and those of its output."""

from collections.abc import Sequence

from twelvefold.core import (
    ApprovalAnswered,
    ChildAnswered,
    ChildrenStarted,
    Entry,
    Item,
    ItemsAdded,
    ModelReplied,
    RunFinished,
    RunId,
    RunStarted,
    ThreadId,
)
from twelvefold.web.ids import ResponseId, approval_answer_id, approval_id, input_id
from twelvefold.web.projection import call_items, objects
from twelvefold.web.projection.input_parts import shown_parts
from twelvefold.web.projection.parts import split_parts
from twelvefold.web.projection.response import ResponseProjection
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
        projection = _project(ResponseId(RunId(thread, first.run), number), entries, view)
        output = projection.response()["output"]
        given = input_items(thread, part[0], input_files)
        # The final state of an item stands where the item was first shown.
        items |= {item["id"]: item for item in (*given, *output)}
    return list(items.values())


def child_items(
    run: RunId, entries: Sequence[Entry], view: objects.ResponseView, *, hand_off: bool
) -> tuple[list[Json], dict[str, ChildrenStarted]]:
    """Return the output of a run that another one has started, and the runs that it has started.

    Without requests to persons, which the response of the root has. `hand_off`: also without the
    answer, which is that of the other run. The runs are those of `ResponseProjection.children`.
    """
    items: dict[str, Json] = {}
    children: dict[str, ChildrenStarted] = {}
    for number in range(len(split_parts(entries))):
        projection = _project(ResponseId(run, number), entries, view)
        items |= {item["id"]: item for item in projection.response()["output"]}
        children = projection.children
    left_out = _answer_ids(run, entries) if hand_off else set()
    shown = [item for id, item in items.items() if id not in left_out and not _is_request(item)]
    return shown, children


def _is_request(item: Json) -> bool:
    is_question = str(item["id"]).startswith("ask_")
    return is_question or bool(item["type"] == "mcp_approval_request")


def _answer_ids(run: RunId, entries: Sequence[Entry]) -> set[str]:
    """Return the ids of the messages that a completed run ended with."""
    end = entries[-1].event
    if not isinstance(end, RunFinished) or end.status != "completed":
        return set()
    replies = ((one.position, one.event) for one in reversed(entries))
    for position, event in replies:
        if isinstance(event, ModelReplied):
            return {item["id"] for item in objects.messages_of(run.thread, position, event)}
    return set()


def _project(
    id: ResponseId, entries: Sequence[Entry], view: objects.ResponseView
) -> ResponseProjection:
    """Return a response from all entries of its run."""
    projection = ResponseProjection(id, view)
    projection.position = entries[0].position - 1
    for entry in entries:
        projection.feed(entry)
    return projection


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
            return [call_items.approval_response(id, request, approved, reason)]
        case ChildAnswered(child_call=call, is_approval=True):
            child = RunId.parse(event.run).thread
            id, request = approval_answer_id(child, call), approval_id(child, call)
            return [call_items.approval_response(id, request, event.approved, event.reason)]
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
        for part in shown_parts(parts, files)
    ]
