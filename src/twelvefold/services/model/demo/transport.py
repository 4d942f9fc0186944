"""The demo model's transport: answers a request within this process, without a server."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec

from twelvefold.core import Item
from twelvefold.services.model.openai import ModelSettings, OpenAIModel

Rules = Callable[[dict[str, Any]], Sequence[Item]]
"""A function from the body of a request to the Responses API to the items of its output."""

MODEL_NAME = "demo"
_CHARS_PER_TOKEN = 4
_DATA_URL = re.compile(rb'"data:[^"]{256,}"')


def open_demo(rules: Rules | None = None) -> OpenAIModel:
    """Return the demo model, with other rules if they are given."""
    if rules is None:
        from twelvefold.services.model.demo.rules import reply

        rules = reply
    settings = ModelSettings(base_url="", api_key="", model=MODEL_NAME)
    return OpenAIModel(settings, DemoTransport(rules))


class DemoTransport:
    """Responds to every request by the rules."""

    name = "the demo model"

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @asynccontextmanager
    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator["DemoResponse"]:
        items = self._rules(msgspec.json.decode(body))
        yield DemoResponse(response_events(items, body))

    async def close(self) -> None:
        pass


class DemoResponse:
    """A response that returns one event per read."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-response_events"}

    def __init__(self, events: Iterable[bytes]) -> None:
        self._events = iter(events)

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return next(self._events, b"")


def response_events(items: Sequence[Item], body: bytes) -> Iterator[bytes]:
    """Yield the server-sent events of a reply in the Responses API, with text in small pieces."""
    key = sha256(body).hexdigest()[:32]
    output = [_output_item(item, f"{key}{index}") for index, item in enumerate(items)]
    written = msgspec.json.encode(output)
    response = {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": 0,
        "model": MODEL_NAME,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }
    done = {"status": "completed", "output": output, "usage": _usage(body, len(written))}
    events = [
        ("response.created", {"response": response}),
        ("response.in_progress", {"response": response}),
        *(event for index, item in enumerate(output) for event in _item_events(index, item)),
        ("response.completed", {"response": response | done}),
    ]
    for number, (kind, fields) in enumerate(events):
        data = msgspec.json.encode({"type": kind, "sequence_number": number, **fields})
        yield b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


def _output_item(item: Item, key: str) -> Item:
    if item["type"] == "message":
        content = [_output_part(part) for part in item["content"]]
        return {"id": f"msg_{key}", "status": "completed", **item, "content": content}
    call_id = item.get("call_id") or f"call_{key}"
    return {"id": f"fc_{key}", "status": "completed", **item, "call_id": call_id}


def _output_part(part: Item) -> Item:
    return part if part["type"] == "refusal" else {"annotations": [], "logprobs": [], **part}


def _item_events(index: int, item: Item) -> Iterator[tuple[str, dict[str, Any]]]:
    where = {"item_id": item["id"], "output_index": index}
    empty: Item = {"content": []} if item["type"] == "message" else {"arguments": ""}
    begun = {**item, "status": "in_progress", **empty}
    yield "response.output_item.added", {"output_index": index, "item": begun}
    if item["type"] == "message":
        for part_index, part in enumerate(item["content"]):
            events = _refusal_events if part["type"] == "refusal" else _text_events
            yield from events(part, {**where, "content_index": part_index})
    else:
        for piece in _pieces(item["arguments"]):
            yield "response.function_call_arguments.delta", {**where, "delta": piece}
        whole = {"name": item["name"], "arguments": item["arguments"]}
        yield "response.function_call_arguments.done", {**where, **whole}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _text_events(part: Item, where: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.content_part.added", {**where, "part": {**part, "text": ""}}
    for piece in _pieces(part["text"]):
        yield "response.output_text.delta", {**where, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**where, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**where, "part": part}


def _refusal_events(part: Item, where: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.content_part.added", {**where, "part": {**part, "refusal": ""}}
    for piece in _pieces(part["refusal"]):
        yield "response.refusal.delta", {**where, "delta": piece}
    yield "response.refusal.done", {**where, "refusal": part["refusal"]}
    yield "response.content_part.done", {**where, "part": part}


def _pieces(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*|\s+", text)


def _usage(read: bytes, written: int) -> dict[str, Any]:
    # The rules do not read images and files.
    text = len(read) - sum(map(len, _DATA_URL.findall(read)))
    tokens_in, tokens_out = text // _CHARS_PER_TOKEN, written // _CHARS_PER_TOKEN
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens_in + tokens_out,
    }
