"""The Responses API: a request as JSON. `responses_stream` reads the reply.

Source: OpenAI's API reference, `POST /responses`.
"""

from typing import Any

import msgspec

from twelvefold.core.events import Item
from twelvefold.core.ports import ModelRequest, ToolSpec
from twelvefold.services.model.responses_stream import ResponsesReply
from twelvefold.services.model.wire import Asking, Part, Wire, text_of


def encode(request: ModelRequest, asking: Asking, without: frozenset[str]) -> bytes:
    """The body of a request; parts in `without` are left out."""
    body: dict[str, Any] = {"model": asking.model, "stream": True, "store": False}
    if "include" not in without:
        body["include"] = ["reasoning.encrypted_content"]
    if asking.temperature is not None:
        body["temperature"] = asking.temperature
    if asking.max_output_tokens is not None:
        body["max_output_tokens"] = asking.max_output_tokens
    body |= request.options
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body["input"] = [_sent(item) for item in request.items if _is_sent(item, without)]
    return msgspec.json.encode(body)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _is_sent(item: Item, without: frozenset[str]) -> bool:
    if item.get("type") != "reasoning":
        return True
    # With store=false the server does not know a reasoning item that has nothing in it but an id.
    return "reasoning" not in without and bool(item.get("encrypted_content") or item.get("content"))


def _sent(item: Item) -> Item:
    if item.get("role") != "assistant":
        return item
    # An output message needs its id and status again; this short form is taken everywhere.
    sent = {"type": "message", "role": "assistant", "content": text_of(item.get("content"))}
    return sent | {"phase": item["phase"]} if "phase" in item else sent


RESPONSES = Wire(
    path="/responses",
    optional=(
        # By gpt-4o and other models that do not reason.
        Part("include", ("include",)),
        # By one model, of another's reasoning, after OPENAI_MODEL was changed.
        Part("reasoning", ("ncrypted", "reasoning", "'rs_"), always=False),
    ),
    encode=encode,
    reply=ResponsesReply,
)
