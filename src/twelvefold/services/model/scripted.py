"""A model whose replies are written by a test: a function from the request to the reply.

model = ScriptedModel(in_turn(calls(("enrol", {"course": "CS-101"})), says("You are in.")))
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from twelvefold.core.events import Item, Usage
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.errors import ModelRejected
from twelvefold.services.model.openai.wire import function_call, made_up_call_id, message, text_of

Scripted = ModelReply | Sequence[Item] | Exception
Script = Callable[[ModelRequest], Scripted]
_CHARS_PER_TOKEN = 4


class ScriptedModel:
    """Replies as its script says; `requests` is what it was asked, in order."""

    def __init__(self, script: Script) -> None:
        self.name = "scripted"
        self.requests: list[ModelRequest] = []
        self._script = script

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """The script's reply. An exception that it returns is raised."""
        self.requests.append(request)
        scripted = self._script(request)
        if isinstance(scripted, Exception):
            raise scripted
        reply = scripted if isinstance(scripted, ModelReply) else _replied(request, scripted)
        show(reply, listener)
        return reply

    async def close(self) -> None:
        """Nothing is open."""


def says(text: str) -> list[Item]:
    """A reply that is a message; `says(…) + calls(…)` is one with both."""
    return [message(text)]


def calls(*calls: tuple[str, Mapping[str, Any] | str]) -> list[Item]:
    """A reply that calls tools, each with its arguments, or any text in their place."""
    return [function_call("", name, arguments) for name, arguments in calls]


def in_turn(*replies: Scripted) -> Script:
    """A script of these replies, one a request; more requests are rejected."""
    left = iter(replies)
    over = ModelRejected(f"the script is over: it has {len(replies)} replies")
    return lambda _: next(left, over)


def show(reply: ModelReply, listener: Listener) -> None:
    """Tell the listener what a reply says that comes in one piece."""
    for item in reply.items:
        if item.get("type") == "message" and (text := text_of(item.get("content"))):
            listener.text(text)


def _replied(request: ModelRequest, items: Sequence[Item]) -> ModelReply:
    body = msgspec.json.encode(request)
    request_hash = sha256(body).hexdigest()
    named = tuple(_named(item, index, request_hash) for index, item in enumerate(items))
    written = msgspec.json.encode(named)
    usage = Usage(len(body) // _CHARS_PER_TOKEN, len(written) // _CHARS_PER_TOKEN)
    return ModelReply(named, usage, "scripted", request_hash)


def _named(item: Item, index: int, request_hash: str) -> Item:
    if item.get("call_id") == "":
        return item | {"call_id": made_up_call_id(request_hash, index)}
    return item
