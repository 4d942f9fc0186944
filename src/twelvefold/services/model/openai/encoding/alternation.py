"""Makes the roles of a conversation alternate, as chat templates require.

Source: the chat templates of Mistral, Gemma and Llama as vLLM and llama.cpp apply them. They fail
if two user messages follow each other, if an assistant message comes first, or if a user message
follows a tool result.
"""

from collections.abc import Iterable

from twelvefold.core import Item
from twelvefold.services.model.items import message, text_of

CONVERSATION_START = "(the conversation starts here)"
NO_REPLY = "(no answer: the turn ended here)"
_SYSTEM_ROLES = ("system", "developer")
_JOINABLE_FIELDS = {"type", "role", "content", "phase"}


def split_system_messages(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Return the system messages and all other items."""
    system: list[Item] = []
    others: list[Item] = []
    for item in items:
        (system if item.get("role") in _SYSTEM_ROLES else others).append(item)
    return system, others


def alternate_roles(items: Iterable[Item]) -> list[Item]:
    """Join messages and insert messages so that the roles alternate.

    Calls belong to the assistant. System messages keep their place and are ignored.
    """
    result: list[Item] = []
    last_role, last_at = "", -1
    for item in items:
        role = _role(item)
        if role == last_role and _are_joinable(result[last_at], item):
            result[last_at] = _joined(result[last_at], item)
            continue
        if role != "system":
            if not last_role and role != "user":
                result.append(_user(CONVERSATION_START))
            elif last_role == "tool" and role == "user":
                result.append(message(NO_REPLY))
            last_role, last_at = role, len(result)
        result.append(item)
    return result if last_role else [*result, _user(CONVERSATION_START)]


def _role(item: Item) -> str:
    if item.get("type") == "function_call_output":
        return "tool"
    role = item.get("role", "assistant")
    return "system" if role in _SYSTEM_ROLES else str(role)


def _user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


def _are_joinable(one: Item, other: Item) -> bool:
    """Return whether two items of the same role are messages without further fields."""
    if one.get("role") == other.get("role") == "user":
        return True
    if one.get("role") != "assistant" or other.get("role") != "assistant":
        return False
    has_known_fields = one.keys() | other.keys() <= _JOINABLE_FIELDS
    return has_known_fields and one.get("phase") == other.get("phase")


def _joined(one: Item, other: Item) -> Item:
    before, after = one["content"], other["content"]
    if one["role"] == "assistant":
        before, after = text_of(before), text_of(after)
    if isinstance(before, str) and isinstance(after, str):
        return {**one, "content": f"{before}\n\n{after}"}
    return {**one, "content": [*_parts(before), *_parts(after)]}


def _parts(content: str | list[Item]) -> list[Item]:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content
