"""Items of the Responses API in the form in which the journal stores them."""

from twelvefold.core import Item
from twelvefold.services.model.lenient_json import encode_repaired

_REASONING_PARTS = ("thinking", "reasoning", "reasoning_text", "thought", "redacted_thinking")


def text_of(content: object) -> str:
    """Return the text of a message's content, refusals included and reasoning left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    return "".join(map(_part_text, content)) if isinstance(content, list | tuple) else ""


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or str(part.get("type")) in _REASONING_PARTS:
        return ""
    text = part.get("text") or part.get("refusal") or ""
    return text if isinstance(text, str) else ""


def message(text: str, refusal: str = "") -> Item:
    """Return a message of the assistant."""
    content: list[Item] = []
    if text or not refusal:
        content.append({"type": "output_text", "text": text, "annotations": []})
    if refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return {"type": "message", "role": "assistant", "content": content}


def function_call(call_id: str, name: str, arguments: object) -> Item:
    """Return a tool call. Some servers send its arguments as an object, or none."""
    if not isinstance(arguments, str):
        arguments = encode_repaired(arguments or {}).decode()
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments or "{}",
    }


def generate_call_id(request_hash: str, index: int) -> str:
    """Return an id for a call that the server sent without one, derived from the request."""
    return f"call_{request_hash[:24]}{index}"
