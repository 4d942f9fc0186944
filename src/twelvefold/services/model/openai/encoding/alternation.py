"""Whose turn it is: a conversation in which user and assistant take turns, as templates want it.

Source: the chat templates of Mistral, Gemma and Llama as vLLM and llama.cpp apply them, which fail
a request where two users speak in a row, an assistant speaks first, or a user follows a result.
"""

from collections.abc import Iterable

from twelvefold.core.events import Item
from twelvefold.services.model.openai.wire import message, text_of

START = "(the conversation starts here)"
NO_ANSWER = "(no answer: the turn ended here)"
_SYSTEM = ("system", "developer")
_PLAIN = {"type", "role", "content", "phase"}


def without_system(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """System messages, and all other items."""
    system: list[Item] = []
    others: list[Item] = []
    for item in items:
        (system if item.get("role") in _SYSTEM else others).append(item)
    return system, others


def alternating(items: Iterable[Item]) -> list[Item]:
    """The items with messages joined and added so that roles alternate.

    Calls count as the assistant's. System messages stay where they are and count for nothing.
    """
    found: list[Item] = []
    last, at = "", -1  # the last speaker, and the index of what it said last
    for item in items:
        speaker = _speaker(item)
        if speaker == last and _are_joinable(found[at], item):
            found[at] = _joined(found[at], item)
            continue
        if speaker != "system":
            if not last and speaker != "user":
                found.append(_user(START))
            elif last == "tool" and speaker == "user":
                found.append(message(NO_ANSWER))
            last, at = speaker, len(found)
        found.append(item)
    return found if last else [*found, _user(START)]


def _speaker(item: Item) -> str:
    if item.get("type") == "function_call_output":
        return "tool"
    role = item.get("role", "assistant")
    return "system" if role in _SYSTEM else str(role)


def _user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": text}


def _are_joinable(one: Item, other: Item) -> bool:
    """Whether two of the same speaker are messages that say nothing but their content."""
    if one.get("role") == other.get("role") == "user":
        return True
    if one.get("role") != "assistant" or other.get("role") != "assistant":
        return False
    return one.keys() | other.keys() <= _PLAIN and one.get("phase") == other.get("phase")


def _joined(one: Item, other: Item) -> Item:
    before, behind = one["content"], other["content"]
    if one["role"] == "assistant":
        before, behind = text_of(before), text_of(behind)
    if isinstance(before, str) and isinstance(behind, str):
        return {**one, "content": f"{before}\n\n{behind}"}
    return {**one, "content": [*_parts(before), *_parts(behind)]}


def _parts(content: str | list[Item]) -> list[Item]:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content
