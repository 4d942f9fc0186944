"""The streams of both APIs, written independently of the code under test."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Ended = Literal["completed", "max_output_tokens", "content_filter"]


@dataclass(frozen=True)
class FakeReply:
    """One reply: a text, then calls as (id, name, arguments)."""

    text: str = ""
    calls: Sequence[tuple[str, str, str]] = ()
    ended: Ended = "completed"
    usage: tuple[int, int, int, int] = field(default=(100, 20, 30, 5))
    """Tokens: input, output, cached input, reasoning output."""


def sse(data: object, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{head}data: {text}\n\n".encode()


def responses_events(reply: FakeReply, *, step: int = 7) -> list[bytes]:
    """Return the stream of the Responses API with texts in pieces of `step` characters."""
    item_events: list[dict[str, Any]] = []
    output = []
    if reply.text or not reply.calls:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        item = _item("msg_1", "message", role="assistant", content=[part])
        output.append(item)
        item_events += _message_events(item, part, step)
    for call_id, name, arguments in reply.calls:
        call = {"call_id": call_id, "name": name, "arguments": arguments}
        item = _item(f"fc_{len(output)}", "function_call", **call)
        item_events += _call_events(item, len(output), step)
        output.append(item)
    status = "completed" if reply.ended == "completed" else "incomplete"
    details = None if status == "completed" else {"reason": reply.ended}
    done = response(
        status=status, output=output, incomplete_details=details, usage=responses_usage(reply)
    )
    return typed(
        {"type": "response.created", "response": response()},
        {"type": "response.in_progress", "response": response()},
        *item_events,
        {"type": f"response.{status}", "response": done},
    )


def typed(*events: dict[str, Any]) -> list[bytes]:
    return [sse({**e, "sequence_number": n}, e["type"]) for n, e in enumerate(events)]


def response(**fields: Any) -> dict[str, Any]:
    base = {"id": "resp_1", "object": "response", "created_at": 1, "status": "in_progress"}
    return {**base, "model": "gpt-test-2026", "output": [], "usage": None, **fields}


def responses_usage(reply: FakeReply) -> dict[str, Any]:
    read, written, cached, reasoning = reply.usage
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": read + written,
    }


def _item(item_id: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": item_id, "type": kind, "status": "completed", **fields}


def _message_events(item: dict[str, Any], part: dict[str, Any], step: int) -> list[dict[str, Any]]:
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    added = {**item, "status": "in_progress", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", "part": {**part, "text": ""}, **where},
        *(
            {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **where}
            for piece in pieces(part["text"], step)
        ),
        {"type": "response.output_text.done", "text": part["text"], "logprobs": [], **where},
        {"type": "response.content_part.done", "part": part, **where},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]


def _call_events(item: dict[str, Any], index: int, step: int) -> list[dict[str, Any]]:
    where = {"item_id": item["id"], "output_index": index}
    kind = "response.function_call_arguments"
    added = {**item, "status": "in_progress", "arguments": ""}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": added},
        *({"type": f"{kind}.delta", "delta": p, **where} for p in pieces(item["arguments"], step)),
        {"type": f"{kind}.done", "arguments": item["arguments"], "name": item["name"], **where},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def chat_events(reply: FakeReply, *, step: int = 7) -> list[bytes]:
    """Return the stream of Chat Completions with texts in pieces of `step` characters."""
    reason = {"completed": "tool_calls" if reply.calls else "stop", "max_output_tokens": "length"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(reply.text, step)]
    for index, (call_id, name, arguments) in enumerate(reply.calls):
        first = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [{"index": index, **first}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in pieces(arguments, step)
        ]
    return [
        *(chunk(delta) for delta in deltas),
        chunk({}, reason.get(reply.ended, reply.ended)),
        sse(chat_chunk([], usage=chat_usage(reply))),
        sse("[DONE]"),
    ]


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return sse(chat_chunk([choice]))


def chat_chunk(choices: list[Any], **fields: Any) -> dict[str, Any]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
    return {**base, "model": "gpt-test-2026", "choices": choices, "usage": None, **fields}


def chat_usage(reply: FakeReply) -> dict[str, Any]:
    read, written, cached, reasoning = reply.usage
    return {
        "prompt_tokens": read,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": written,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": read + written,
    }


def pieces(text: str, step: int) -> list[str]:
    return [text[at : at + step] for at in range(0, len(text), step)]
