"""A model for tests whose replies come from a script: a function from request to reply.

model = ScriptedModel(in_turn(calls(("enrol", {"course": "CS-101"})), says("You are in.")))
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec

from twelvefold.core import Item, Listener, ModelReply, ModelRequest, Usage
from twelvefold.errors import ModelRejected
from twelvefold.services.model.items import generate_call_id, text_of

Scripted = ModelReply | Sequence[Item] | Exception
Script = Callable[[ModelRequest], Scripted]
_CHARS_PER_TOKEN = 4


class ScriptedModel:
    """Replies by its script. `requests` has the requests so far, in order."""

    def __init__(self, script: Script) -> None:
        self.name = "scripted"
        self.requests: list[ModelRequest] = []
        self._script = script

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Return the script's reply. An exception that the script returns is raised."""
        self.requests.append(request)
        scripted = self._script(request)
        if isinstance(scripted, Exception):
            raise scripted
        reply = scripted if isinstance(scripted, ModelReply) else _build_reply(request, scripted)
        show_text(reply, listener)
        return reply

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def says(text: str) -> list[Item]:
    """Return a reply with a message; `says(…) + calls(…)` is a reply with both."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return [{"type": "message", "role": "assistant", "content": [part]}]


def calls(*calls: tuple[str, Mapping[str, Any] | str]) -> list[Item]:
    """Return a reply that calls tools, each with its arguments or with any text in their place."""
    return [_call(name, arguments) for name, arguments in calls]


def _call(name: str, arguments: Mapping[str, Any] | str) -> Item:
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    return {
        "type": "function_call",
        "call_id": "",
        "name": name,
        "arguments": arguments or "{}",
    }


def in_turn(*replies: Scripted) -> Script:
    """Return a script with one reply per request. It rejects further requests."""
    remaining = iter(replies)
    return lambda _: next(remaining, exhausted(len(replies)))


def exhausted(count: int) -> ModelRejected:
    """Return the error of a request after the last of `count` replies."""
    return ModelRejected(f"the script is over: it has {count} replies")


def show_text(reply: ModelReply, listener: Listener) -> None:
    """Pass the text of a whole reply to the listener."""
    for item in reply.items:
        if item.get("type") == "message" and (text := text_of(item.get("content"))):
            listener.text(text)


def _build_reply(request: ModelRequest, items: Sequence[Item]) -> ModelReply:
    sent = msgspec.to_builtins(replace(request, before_retry=None))
    del sent["attempts"]  # how often it may be sent is no part of it
    body = msgspec.json.encode(sent)
    request_hash = sha256(body).hexdigest()
    named = tuple(_with_call_id(item, index, request_hash) for index, item in enumerate(items))
    written = msgspec.json.encode(named)
    usage = Usage(len(body) // _CHARS_PER_TOKEN, len(written) // _CHARS_PER_TOKEN)
    return ModelReply(named, usage, "scripted", request_hash)


def _with_call_id(item: Item, index: int, request_hash: str) -> Item:
    if item.get("call_id") == "":
        return item | {"call_id": generate_call_id(request_hash, index)}
    return item
