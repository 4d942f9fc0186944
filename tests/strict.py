"""What the strictest servers in use take of a conversation: each raises AssertionError otherwise.

`vLLM`, `llama.cpp` and `TGI` parse arguments again and their templates want roles to alternate;
Mistral, Moonshot, Bedrock and Anthropic refuse what is empty; OpenAI checks names, ids and pairs.
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

Json = dict[str, Any]
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CALL_ID = re.compile(r"[!-~]+")
"""An id that is longer than 64 characters came from this very server."""
_MESSAGE = {"role", "content", "tool_calls", "tool_call_id", "refusal", "name"}
_ITEM = {
    "message": {"type", "role", "content", "phase", "id", "status"},
    "function_call": {"type", "call_id", "name", "arguments", "id", "status"},
    "function_call_output": {"type", "call_id", "output", "id", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content"},
}


def check_chat(body: Json) -> None:
    """Hold the body of a Chat Completions request against all of them."""
    messages: list[Json] = body["messages"]
    roles = [message["role"] for message in messages]
    assert "system" not in roles[1:], "the system's message is the first, or none"
    conversation = messages[1:] if roles[:1] == ["system"] else messages
    _check_turns([_kind(message) for message in conversation])
    used: set[str] = set()
    waiting: list[str] = []
    for message in messages:
        assert set(message) <= _MESSAGE, f"an unknown field: {message}"
        if message["role"] == "tool":
            assert message["tool_call_id"] == waiting.pop(0), "a result that is no call's"
            _check_content(message["content"])
            continue
        assert not waiting, f"calls without a result: {waiting}"
        calls = message.get("tool_calls")
        assert calls is None or calls, "an empty list of calls"
        if not calls or message["content"] is not None:
            _check_content(message["content"])
        for call in calls or ():
            assert set(call) == {"id", "type", "function"}
            assert set(call["function"]) == {"name", "arguments"}
            _check_call(call["id"], call["function"], used)
            waiting.append(call["id"])
    assert not waiting, f"calls without a result: {waiting}"


def check_responses(body: Json) -> None:
    """The same for the body of a request to the Responses API."""
    items: list[Json] = body["input"]
    _check_turns([_kind(item) for item in _without_further_parts(items)])
    used: set[str] = set()
    waiting: list[str] = []
    for item, behind in zip(items, [*items[1:], {"type": "message", "role": "user"}], strict=True):
        assert set(item) <= _ITEM[item["type"]], f"an unknown field: {item}"
        if item["type"] == "function_call_output":
            assert item["call_id"] == waiting.pop(0), "a result that is no call's"
            _check_content(item["output"])
        elif item["type"] == "function_call":
            _check_call(item["call_id"], item, used)
            waiting.append(item["call_id"])
        elif item["type"] == "message":
            assert not waiting or item["role"] == "assistant", f"calls without a result: {waiting}"
            _check_content(item["content"])
        else:
            assert _kind(behind) in ("assistant", "call", "reasoning"), "reasoning by itself"
    assert not waiting, f"calls without a result: {waiting}"


def _without_further_parts(items: Sequence[Json]) -> list[Json]:
    """The items without reasoning, and without the later messages of one reply.

    OpenAI has those, one for each phase or stretch of reasoning.
    """
    kept: list[Json] = []
    last: Json = {}
    reasoned = False
    for item in items:
        if _kind(item) not in ("system", "reasoning"):
            both = last.get("role") == item.get("role") == "assistant"
            if not both or not (reasoned or last.get("phase") != item.get("phase")):
                kept.append(item)
            last = item
        reasoned = _kind(item) == "reasoning"
    return kept


def _kind(one: Json) -> str:
    match one.get("type", "message"):
        case "function_call":
            return "call"
        case "function_call_output":
            return "tool"
        case "message" if one["role"] == "assistant":
            return "call" if one.get("tool_calls") else "assistant"
        case "message":
            return "system" if one["role"] == "developer" else str(one["role"])
        case other:
            return str(other)


def _check_turns(kinds: Sequence[str]) -> None:
    """User and assistant alternate; calls and results stand between a user and an assistant."""
    assert kinds, "an empty conversation"
    assert kinds[0] == "user", f"the first to speak is the user, not {kinds[0]}"
    for one, next in pairwise(kinds):
        assert (
            next
            in {
                "user": ("assistant", "call"),
                "assistant": ("user", "call"),
                "call": ("call", "tool"),
                "tool": ("tool", "assistant", "call"),
            }[one]
        ), f"{next} behind {one}"


def _check_call(id: str, function: Json, used: set[str]) -> None:
    assert _CALL_ID.fullmatch(id), f"call id {id!r}"
    assert id not in used, f"call id {id!r} is used twice"
    used.add(id)
    assert _NAME.fullmatch(function["name"]), f"name {function['name']!r}"
    arguments = json.loads(
        function["arguments"], parse_constant=_refused, object_pairs_hook=_unique
    )
    assert isinstance(arguments, dict), f"arguments {function['arguments']!r}"


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _unique(pairs: Iterable[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        assert key not in found, f"key {key!r} twice"
        found[key] = value
    return found


def _check_content(content: Any) -> None:
    assert content, "empty content"
    texts = [content] if isinstance(content, str) else [p["text"] for p in content if "text" in p]
    assert all(text.strip() for text in texts), "empty text"
