"""The objects of the Responses API: the response and the items of its output.

Sources: the OpenAI Responses API, and Open Responses, which requires every field in every response.
A tool that the server runs is an `mcp_call`: of the item types with a free tool name it is the only
one that requires nothing of the client.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twelvefold.core import (
    FinalStatus,
    Item,
    ModelReplied,
    RequestOptions,
    RunStarted,
    ThreadId,
    Usage,
    failure_sentence,
    is_empty,
)
from twelvefold.web.http import INSUFFICIENT_QUOTA
from twelvefold.web.ids import ResponseId, conversation_id, message_id
from twelvefold.web.schemas import (
    ItemStatus,
    Json,
    ResponseStatus,
    ToolItems,
    ToolOutputs,
)

OUTPUT_BYTES = 64 * 1024
"""The most bytes of a tool's result that an item has; the journal has all of it."""
SUMMARY_CHARS = 200


@dataclass(frozen=True, slots=True)
class ResponseView:
    """The settings that a response is shown with.

    `label` is the name of the model as the caller gave it; `started` is the first event of the run.

    An answer to an approval request may change the options and `background` for its response.
    """

    label: str
    tool_items: ToolItems
    tool_outputs: ToolOutputs
    background: bool
    started: RunStarted


def label_of(workflow: str, options: RequestOptions) -> str:
    """Return the name that a caller gave as the model: `workflow` or `workflow/model`."""
    return f"{workflow}/{options.model}" if options.model else workflow


@dataclass(frozen=True, slots=True)
class ResponseState:
    """How far a response is; times are microseconds since 1970."""

    status: ResponseStatus = "in_progress"
    created_at_us: int = 0
    ended_at_us: int = 0
    reason: str = ""
    error: str = ""
    usage: Usage = field(default_factory=Usage)

    def ended(
        self, status: FinalStatus, at_us: int, *, reason: str = "", error: str = ""
    ) -> "ResponseState":
        """Return the state at the end; `error` and `reason` as in `RunFinished`."""
        return replace(
            self,
            status=status,
            ended_at_us=at_us,
            reason=reason,
            error=failure_sentence(reason, error) if status == "failed" else "",
        )


def response_object(
    id: ResponseId, view: ResponseView, state: ResponseState, output: list[Json]
) -> Json:
    """Return the response as its endpoints and the events of its stream have it."""
    options = view.started.options
    return {
        "id": str(id),
        "object": "response",
        **_result(state),
        "model": view.label,
        "output": output,
        "background": view.background,
        "previous_response_id": _previous(id, options),
        "conversation": {"id": conversation_id(id.run.thread)} if options.conversation else None,
        **_options(options),
        **_sampling(options),
        **_echo(options.echo),
    }


def _result(state: ResponseState) -> Json:
    status = state.status
    over = status not in ("queued", "in_progress")
    return {
        "created_at": state.created_at_us // 1_000_000,
        "completed_at": state.ended_at_us // 1_000_000 if status == "completed" else None,
        "status": status,
        "error": _error(state) if state.error else None,
        "incomplete_details": _incomplete(state.reason) if status == "incomplete" else None,
        "usage": _usage(state.usage) if over else None,
    }


def _error(state: ResponseState) -> Json:
    # The code is of a closed enumeration; the AI SDK's parser requires `type` and `param`. OpenAI's
    # own server ends a response with this code, too, and its clients know it.
    code = INSUFFICIENT_QUOTA if state.reason == INSUFFICIENT_QUOTA else "server_error"
    return {"code": code, "message": state.error, "type": code, "param": None}


def _incomplete(reason: str) -> Json:
    filtered = reason == "content_filter"
    return {"reason": "content_filter" if filtered else "max_output_tokens"}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _previous(id: ResponseId, options: RequestOptions) -> str | None:
    if id.part and not options.conversation:
        return str(ResponseId(id.run, id.part - 1))
    return options.previous or None


def _options(options: RequestOptions) -> Json:
    return {
        "instructions": options.instructions or None,
        "tools": [_tool(tool) for tool in options.tools],
        "tool_choice": options.tool_choice or "auto",
        "parallel_tool_calls": options.parallel_tool_calls is not False,
        "max_tool_calls": options.max_tool_calls,
        "max_output_tokens": options.max_output_tokens,
        "text": _text(options.text or {}),
        "reasoning": {"effort": None, "summary": None} | (options.reasoning or {}),
        "store": options.store,
        "metadata": dict(options.metadata),
    }


def _tool(tool: Item) -> Json:
    required = ("type", "name", "description", "parameters", "strict")
    return {key: tool.get(key) for key in required} | tool


def _text(text: Item) -> Json:
    form = text.get("format") or {"type": "text"}
    if form.get("type") == "json_schema":
        form = {"description": None, "strict": False} | form
    return text | {"format": form}


def _sampling(options: RequestOptions) -> Json:
    return {
        "temperature": 1.0 if options.temperature is None else options.temperature,
        "top_p": 1.0 if options.top_p is None else options.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def _echo(echo: Item) -> Json:
    """Return the options that have no effect here."""
    return {
        "top_logprobs": echo.get("top_logprobs") or 0,
        "truncation": echo.get("truncation") or "disabled",
        "service_tier": echo.get("service_tier") or "default",
        "safety_identifier": echo.get("safety_identifier"),
        "prompt_cache_key": echo.get("prompt_cache_key"),
        "user": echo.get("user"),
    }


# --- items --------------------------------------------------------------------------------------


def message(id: str, status: ItemStatus, content: Sequence[Json], phase: str | None = None) -> Json:
    """Return an assistant's message."""
    item: Json = {
        "id": id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }
    return item | {"phase": phase} if phase else item


def output_text(text: str, annotations: Sequence[Any] = ()) -> Json:
    # The API's own schema and Open Responses both require `logprobs`; it may be empty.
    return {
        "type": "output_text",
        "text": text,
        "annotations": list(annotations),
        "logprobs": [],
    }


def messages_of(thread: ThreadId, position: int, reply: ModelReplied) -> list[Json]:
    """Return a reply's messages; a streamed one has a single text part, as its deltas had.

    An empty reply has none, and neither has one whose text is no valid output: the model is called
    again.
    """
    if reply.problems:
        return []
    status: ItemStatus = "completed" if reply.ended == "completed" else "incomplete"
    items = [item for item in reply.items if item.get("type") == "message"]
    if is_streamed(reply):
        id = message_id(thread, position, first_delta=reply.first_delta)
        return [message(id, status, [_joined_text(items[0])], items[0].get("phase"))]
    if is_empty(reply):
        return []
    return [
        message(message_id(thread, position, index), status, content_of(item), item.get("phase"))
        for index, item in enumerate(items)
    ]


def is_streamed(reply: ModelReplied) -> bool:
    """Return whether clients may have read deltas of the reply's one message."""
    if reply.problems:
        return False
    count = sum(item.get("type") == "message" for item in reply.items)
    return reply.first_delta > 0 and count == 1


def content_of(item: Item) -> list[Json]:
    """Return the parts of an assistant's message."""
    content = item.get("content")
    if isinstance(content, str):
        return [output_text(content)]
    return [_part(part) for part in content or ()]


def _part(part: Item) -> Json:
    if part.get("type") == "refusal":
        return {"type": "refusal", "refusal": str(part.get("refusal") or "")}
    return output_text(str(part.get("text") or ""), part.get("annotations") or ())


def _joined_text(item: Item) -> Json:
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
    """Return a call that the server runs; `error` is the result that the model has read."""
    failure = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": error}]}
    return {
        "id": id,
        "type": "mcp_call",
        "status": status,
        "server_label": label,
        "name": name,
        "arguments": arguments,
        "output": output,
        "error": None if error is None else failure,
        "approval_request_id": approval,
    }


def shorten_result(text: str, outputs: ToolOutputs) -> str:
    """Return as much of a tool's result as clients may see."""
    if outputs == "none":
        return ""
    if outputs == "summary":
        dots = "…" if len(text) > SUMMARY_CHARS else ""
        return f"{text[:SUMMARY_CHARS]}{dots} [{len(text)} characters]"
    # A character has at most four bytes.
    if len(text) * 4 <= OUTPUT_BYTES or len(encoded := text.encode()) <= OUTPUT_BYTES:
        return text
    note = f"\n[cut here: the result has {len(text)} characters, all of which are in the journal]"
    return encoded[: OUTPUT_BYTES - len(note.encode())].decode(errors="ignore") + note
