"""A stand-in for a model's server on loopback: does as the user's last message says.

`book REF` and `write REF TO` call the tool of that name once and then say so; anything else is
answered with a text. The name in the base URL, `/NAME/v1`, tells who was asked, and by whom; it
stands in every text. A check can hold a reply in its middle, or a call inside its transaction.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twelvefold.factors.harness.tcp_server import listening

Item = Mapping[str, Any]


@dataclass(slots=True)
class Hold:
    """A place where somebody stays: `reached` once they are there, until `free` is set."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def stay(self) -> None:
        self.reached.set()
        await self.free.wait()


class StandIn:
    """The server, in the checks' own process."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        """Requests by the name that was asked and what it was asked for."""
        self.pace_s = 0.0
        self._replies: dict[tuple[str, int], Hold] = {}
        self._gates: dict[str, Hold] = {}

    def base_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def hold_reply(self, ref: str, number: int) -> Hold:
        """Stay in the middle of that reply about a thing; each run's replies begin at 1."""
        return self._replies.setdefault((ref, number), Hold())

    def hold_call(self, ref: str) -> Hold:
        """Stay in the call that books a thing, its row written and not committed."""
        return self._gates.setdefault(ref, Hold())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["StandIn"]:
        async with listening(self._connected) as self.port:
            yield self

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ")[1]
        if path.startswith("/gate/"):
            await self._gates[path.removeprefix("/gate/")].stay()
        else:
            body = await reader.readexactly(_length(head))
            await self._answer(path.split("/")[1], json.loads(body), writer)

    async def _answer(self, name: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        said, outputs, turns = _read(body["input"])
        ref = said[1] if len(said) > 1 else ""
        self.asked[f"{name} {ref}"] += 1
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        events = _events(self._item(name, said, outputs, turns))
        middle = len(events) // 2
        for number, event in enumerate(events):
            if number == middle:
                await writer.drain()
                await asyncio.sleep(self.pace_s)
                if hold := self._replies.get((ref, outputs + 1)):
                    await hold.stay()
            writer.write(event)

    def _item(self, name: str, said: Sequence[str], outputs: int, turns: int) -> Item:
        match said:
            case ["book", ref] if not outputs:
                gate = f"{self.port}/{ref}" if ref in self._gates else ""
                return _call("book", {"ref": ref, "gate": gate})
            case ["write", ref, to] if not outputs:
                return _call("write", {"ref": ref, "to": to})
        text = f"This is {name}; {turns} turns were told to me; that was {' '.join(said)}."
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "message", "role": "assistant", "content": [part]}


def _length(head: str) -> int:
    for line in head.lower().split("\r\n"):
        name, _, value = line.partition(":")
        if name == "content-length":
            return int(value)
    return 0


def _read(items: Sequence[Item]) -> tuple[list[str], int, int]:
    """The words of the last user's message, the results since, and how many have spoken."""
    users = [at for at, item in enumerate(items) if item.get("role") == "user"]
    content = items[users[-1]]["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    since = items[users[-1] :]
    outputs = sum(item.get("type") == "function_call_output" for item in since)
    return text.split(), outputs, len(users)


def _call(tool: str, arguments: dict[str, str]) -> Item:
    written = json.dumps(arguments)
    return {"type": "function_call", "call_id": "call_1", "name": tool, "arguments": written}


def _events(item: Item) -> list[bytes]:
    """A reply of one item as the Responses API streams it."""
    item = {"id": "item_1", "status": "completed", **item}
    where = {"item_id": "item_1", "output_index": 0}
    base = {"id": "resp_1", "object": "response", "model": "stand-in", "status": "in_progress"}
    if item["type"] == "message":
        pieces = [f"{word} " for word in item["content"][0]["text"].split(" ")]
        begun, kind = {**item, "content": []}, "response.output_text.delta"
        where |= {"content_index": 0}
    else:
        pieces = [item["arguments"]]
        begun, kind = {**item, "arguments": ""}, "response.function_call_arguments.delta"
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    done = {**base, "status": "completed", "output": [item], "usage": usage}
    return [
        _event("response.created", response=base),
        _event("response.output_item.added", output_index=0, item=begun),
        *(_event(kind, **where, delta=piece) for piece in pieces),
        _event("response.output_item.done", output_index=0, item=item),
        _event("response.completed", response=done),
    ]


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
