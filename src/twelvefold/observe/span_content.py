"""The texts of a run in its spans, where the operator has opted in to them.

They have the shape of the conventions, as JSON. `gen_ai.input.messages` of a reply are those that
are new since the reply before: the whole history in each span would grow with its square.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from twelvefold.core import Item, ModelReplied, RunStarted
from twelvefold.observe import gen_ai

Message = dict[str, Any]
Texts = dict[str, str]


@dataclass(slots=True)
class SpanContent:
    """Collects the messages of a run as its entries come."""

    _input: list[Message] = field(default_factory=list)
    _new: list[Message] = field(default_factory=list)
    _last: list[Message] = field(default_factory=list)

    def start(self, event: RunStarted) -> None:
        """Take the input of the run."""
        self._input = [_message(item) for item in event.items]
        self._new = [*self._input]

    def reply(self, event: ModelReplied, finish: str) -> Texts:
        """Return the texts of a reply."""
        parts = [part for item in event.items for part in _parts(item)]
        self._last = [{"role": "assistant", "parts": parts, "finish_reason": finish}]
        new, self._new = self._new, []
        return {gen_ai.INPUT_MESSAGES: _json(new), gen_ai.OUTPUT_MESSAGES: _json(self._last)}

    def result(self, wire_id: str, arguments: str, result: str) -> Texts:
        """Return the texts of a call, whose result the next reply reads."""
        part = {"type": "tool_call_response", "id": wire_id, "response": result}
        self._new.append({"role": "tool", "parts": [part]})
        return {gen_ai.TOOL_CALL_ARGUMENTS: arguments, gen_ai.TOOL_CALL_RESULT: result}

    def run(self) -> Texts:
        """Return the input of the run and its last reply."""
        return {
            gen_ai.INPUT_MESSAGES: _json(self._input),
            gen_ai.OUTPUT_MESSAGES: _json(self._last),
        }


def _message(item: Item) -> Message:
    return {"role": str(item.get("role", "user")), "parts": [*_parts(item)]}


def _parts(item: Item) -> Iterable[Message]:
    match item.get("type", "message"):
        case "message":
            content = item.get("content") or ""
            texts = [content] if isinstance(content, str) else [_text(part) for part in content]
            yield from ({"type": "text", "content": text} for text in texts if text)
        case "function_call":
            call = {"type": "tool_call", "id": item.get("call_id"), "name": item.get("name")}
            yield call | {"arguments": item.get("arguments")}
        case "function_call_output":
            response = {"type": "tool_call_response", "id": item.get("call_id")}
            yield response | {"response": item.get("output")}
        case other:
            yield {"type": str(other)}


def _text(part: Item) -> str:
    return str(part.get("text") or "")


def _json(messages: list[Message]) -> str:
    return msgspec.json.encode(messages).decode()
