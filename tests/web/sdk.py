"""The `openai` SDK as judge of what goes over the wire: its strict types and its accumulator."""

from collections.abc import Iterable
from typing import Any

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.conversations import ConversationItem
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

Json = dict[str, Any]
_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_RESPONSE_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
_CONVERSATION_ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)

REQUIRED = {
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"),
    *("previous_response_id", "instructions", "output", "error", "tools", "tool_choice"),
    *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"),
    *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata"),
    *("safety_identifier", "prompt_cache_key"),
}
"""The fields that Open Responses wants in every response."""
NULLABLE = {
    *("completed_at", "incomplete_details", "previous_response_id", "instructions", "error"),
    *("reasoning", "usage", "max_output_tokens", "max_tool_calls", "safety_identifier"),
    "prompt_cache_key",
}


def check_response(response: Json) -> None:
    """Hold a response against the SDK's type and against what Open Responses wants of it."""
    Response.model_validate(response, strict=True)
    assert set(response) >= REQUIRED
    assert {key for key in REQUIRED if response[key] is None} <= NULLABLE


def check_items(items: Iterable[Json], *, conversation: bool = False) -> None:
    """Hold listed items against the SDK's type; in each, the id must be there."""
    adapter = _CONVERSATION_ITEM if conversation else _RESPONSE_ITEM
    for item in items:
        read = adapter.validate_python(item, strict=True)
        assert read.type == item["type"]
        assert item["id"]


def check_events(events: list[Json]) -> None:
    """Hold the events of one response against the SDK: each by itself, and all of them together."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        read = _EVENT.validate_python(event, strict=True)
        assert read.type == event["type"]
        state.handle_event(read)
        if "response" in event:
            check_response(event["response"])
    check_story(events)


def check_story(events: list[Json]) -> None:
    """Each item is added, streamed and done at the next index; the last event has all items."""
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    done = {
        event["output_index"]: event["item"]
        for event in events
        if event["type"] == "response.output_item.done"
    }
    assert [done[index]["id"] for index in range(len(added))] == [item["id"] for item in added]
    assert len({item["id"] for item in added}) == len(added)
    assert events[-1]["response"]["output"] == [done[index] for index in range(len(added))]
    for index, item in done.items():
        if item["type"] == "message":
            assert text_told(events, index) == [_text(part) for part in item["content"]]


def text_told(events: list[Json], index: int) -> list[str]:
    """What the deltas of an item add up to, by content part."""
    texts: dict[int, str] = {}
    for event in events:
        if event.get("output_index") != index or "content_index" not in event:
            continue
        part = texts.setdefault(event["content_index"], "")
        if event["type"] in ("response.output_text.delta", "response.refusal.delta"):
            texts[event["content_index"]] = part + event["delta"]
    return [texts[at] for at in sorted(texts)]


def _text(part: Json) -> str:
    said: str = part["text"] if part["type"] == "output_text" else part["refusal"]
    return said
