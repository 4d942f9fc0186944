"""A fake model server on loopback that follows the last user message.

`book REF` and `mail REF TO` call the tool of that name once and then answer with text. Every other
message is answered with text. The text contains the NAME of the base URL `/NAME/v1`, which
identifies the client. A check can block a reply halfway, or a tool call inside its transaction.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from twelvefold.factors.harness.tcp_server import serve_tcp

Item = Mapping[str, Any]


class Barrier:
    """Blocks one caller: `reached` is set when it arrives, `release` lets it continue."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    async def block(self) -> None:
        self.reached.set()
        await self._released.wait()

    def release(self) -> None:
        self._released.set()


class FakeModelServer:
    """Runs in the process of the checks. `delay_s` is added to every reply.

    While `is_open` is not set, every reply stops halfway.
    """

    def __init__(self) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.requests: Counter[tuple[str, str]] = Counter()
        """Number of requests by the name in the base URL and by REF."""
        self._reply_barriers: dict[tuple[str, int], Barrier] = {}
        self._call_barriers: dict[str, Barrier] = {}

    def base_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def block_reply(self, ref: str, number: int) -> Barrier:
        """Block the reply with this number halfway; the replies of a run count from 1."""
        return self._reply_barriers.setdefault((ref, number), Barrier())

    def block_call(self, ref: str) -> Barrier:
        """Block the `book` call after its INSERT and before its COMMIT."""
        return self._call_barriers.setdefault(ref, Barrier())

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeModelServer"]:
        async with serve_tcp(self._on_connect) as self.port:
            yield self

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ")[1]
        if path.startswith("/barrier/"):
            await self._call_barriers[path.removeprefix("/barrier/")].block()
        else:
            body = await reader.readexactly(_content_length(head))
            await self._reply(path.split("/")[1], _Conversation.parse(body), writer)

    async def _reply(
        self, name: str, conversation: "_Conversation", writer: asyncio.StreamWriter
    ) -> None:
        self.requests[name, conversation.ref] += 1
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        events = _events(self._item(name, conversation))
        middle = len(events) // 2
        for index, event in enumerate(events):
            if index == middle:
                await writer.drain()
                await asyncio.sleep(self.delay_s)
                await self.is_open.wait()
                reply = conversation.tool_results + 1
                if barrier := self._reply_barriers.get((conversation.ref, reply)):
                    await barrier.block()
            writer.write(event)

    def _item(self, name: str, conversation: "_Conversation") -> Item:
        match conversation.words:
            case ["book", ref] if not conversation.tool_results:
                barrier = f"{self.port}/{ref}" if ref in self._call_barriers else ""
                return _call("book", {"ref": ref, "barrier": barrier})
            case ["mail", ref, to] if not conversation.tool_results:
                return _call("mail", {"ref": ref, "to": to})
        last = " ".join(conversation.words)
        text = f"Model {name}; user messages: {conversation.user_messages}; the last: {last}"
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "message", "role": "assistant", "content": [part]}


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The `input` of a request: words of the last user message, tool results after it."""

    words: Sequence[str]
    tool_results: int
    user_messages: int

    @property
    def ref(self) -> str:
        return self.words[1] if len(self.words) > 1 else ""

    @staticmethod
    def parse(body: bytes) -> "_Conversation":
        items = json.loads(body)["input"]
        users = [index for index, item in enumerate(items) if item.get("role") == "user"]
        content = items[users[-1]]["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        results = [
            item for item in items[users[-1] :] if item.get("type") == "function_call_output"
        ]
        return _Conversation(text.split(), len(results), len(users))


def _content_length(head: str) -> int:
    for line in head.lower().split("\r\n"):
        name, _, value = line.partition(":")
        if name == "content-length":
            return int(value)
    return 0


def _call(tool: str, arguments: dict[str, str]) -> Item:
    encoded = json.dumps(arguments)
    return {"type": "function_call", "call_id": "call_1", "name": tool, "arguments": encoded}


def _events(item: Item) -> list[bytes]:
    """Return a reply of one item as the SSE events of the Responses API."""
    item = {"id": "item_1", "status": "completed", **item}
    position = {"item_id": "item_1", "output_index": 0}
    response = {"id": "resp_1", "object": "response", "model": "fake", "status": "in_progress"}
    if item["type"] == "message":
        pieces = [f"{word} " for word in item["content"][0]["text"].split(" ")]
        added, delta = {**item, "content": []}, "response.output_text.delta"
        position |= {"content_index": 0}
    else:
        pieces = [item["arguments"]]
        added, delta = {**item, "arguments": ""}, "response.function_call_arguments.delta"
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    completed = {**response, "status": "completed", "output": [item], "usage": usage}
    return [
        _event("response.created", response=response),
        _event("response.output_item.added", output_index=0, item=added),
        *(_event(delta, **position, delta=piece) for piece in pieces),
        _event("response.output_item.done", output_index=0, item=item),
        _event("response.completed", response=completed),
    ]


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
