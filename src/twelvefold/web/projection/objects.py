"""Items as they go over the wire, and how much of a tool's result they show.

Source: the `output` union of the OpenAI Responses API. Why a tool that the server runs is an
`mcp_call`: of the kinds with a free tool name it is the only one that asks nothing of the client.
"""

from collections.abc import Sequence
from typing import Any

from twelvefold.core.conversation.call_results import is_empty
from twelvefold.core.events import Item, ModelReplied
from twelvefold.core.ids import ThreadId
from twelvefold.web.ids import message_id
from twelvefold.web.schemas.types import ItemStatus, Json, ToolOutputs

OUTPUT_BYTES = 64 * 1024
"""The most of a tool's result that an item shows; the journal has all of it."""
SUMMARY_CHARS = 200


def message(id: str, status: ItemStatus, content: Sequence[Json], phase: str | None = None) -> Json:
    """An assistant's message."""
    item: Json = {
        "id": id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }
    return item | {"phase": phase} if phase else item


def output_text(text: str, annotations: Sequence[Any] = ()) -> Json:
    # The API's own schema and Open Responses both want `logprobs`, with nothing in it if need be.
    return {
        "type": "output_text",
        "text": text,
        "annotations": list(annotations),
        "logprobs": [],
    }


def messages_of(thread: ThreadId, position: int, reply: ModelReplied) -> list[Json]:
    """A reply's messages; the one that was shown as it came is the one text that it was then.

    An empty reply has none: the model is asked again.
    """
    status: ItemStatus = "completed" if reply.ended == "completed" else "incomplete"
    said = [item for item in reply.items if item.get("type") == "message"]
    if shown_as_it_came(reply):
        id = message_id(thread, position, first_delta=reply.first_delta)
        return [message(id, status, [_as_shown(said[0])], said[0].get("phase"))]
    if is_empty(reply):
        return []
    return [
        message(message_id(thread, position, index), status, content_of(item), item.get("phase"))
        for index, item in enumerate(said)
    ]


def shown_as_it_came(reply: ModelReplied) -> bool:
    """Whether pieces of the reply's one message may have been shown before it was whole."""
    count = sum(item.get("type") == "message" for item in reply.items)
    return reply.first_delta > 0 and count == 1


def content_of(item: Item) -> list[Json]:
    """The parts of an assistant's message."""
    content = item.get("content")
    if isinstance(content, str):
        return [output_text(content)]
    return [_part(part) for part in content or ()]


def _part(part: Item) -> Json:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": str(part.get("refusal") or "")}
    return output_text(str(part.get("text") or ""), part.get("annotations") or ())


def _as_shown(item: Item) -> Json:
    parts = content_of(item)
    text = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
    return output_text(text, [note for part in parts for note in part.get("annotations", ())])


def mcp_call(
    id: str,
    label: str,
    name: str,
    arguments: str,
    *,
    status: ItemStatus = "in_progress",
    output: str | None = None,
    error: str | None = None,
    approval: str | None = None,
) -> Json:
    """A call that the server runs; `error` is what the model read of it."""
    failed = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": error}]}
    return {
        "id": id,
        "type": "mcp_call",
        "status": status,
        "server_label": label,
        "name": name,
        "arguments": arguments,
        "output": output,
        "error": None if error is None else failed,
        "approval_request_id": approval,
    }


def function_call(
    id: str, call_id: str, name: str, arguments: str, status: ItemStatus = "completed"
) -> Json:
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def function_output(id: str, call_id: str, output: str, status: ItemStatus = "completed") -> Json:
    return {
        "id": id,
        "type": "function_call_output",
        "status": status,
        "call_id": call_id,
        "output": output,
    }


def approval_request(id: str, label: str, name: str, arguments: str) -> Json:
    return {
        "id": id,
        "type": "mcp_approval_request",
        "server_label": label,
        "name": name,
        "arguments": arguments,
    }


def approval_response(id: str, request: str, approve: bool, reason: str) -> Json:
    return {
        "id": id,
        "type": "mcp_approval_response",
        "approval_request_id": request,
        "approve": approve,
        "reason": reason or None,
    }


def result_shown(text: str, outputs: ToolOutputs) -> str:
    """As much of a tool's result as its caller is to see."""
    if outputs == "none":
        return ""
    if outputs == "summary":
        dots = "…" if len(text) > SUMMARY_CHARS else ""
        return f"{text[:SUMMARY_CHARS]}{dots} [{len(text)} characters]"
    return _capped(text)


def _capped(text: str) -> str:
    # A character has at most four bytes.
    if len(text) * 4 <= OUTPUT_BYTES or len(whole := text.encode()) <= OUTPUT_BYTES:
        return text
    note = f"\n[cut here: the result has {len(text)} characters, all of which are in the journal]"
    kept = whole[: OUTPUT_BYTES - len(note.encode())].decode(errors="ignore")
    return kept + note
