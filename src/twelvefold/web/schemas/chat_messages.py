"""The messages of a chat completion, and the items of the Responses API that they stand for.

Source: `messages` of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from twelvefold.core import Item
from twelvefold.web.http import raise_invalid
from twelvefold.web.schemas.call_results import without_repeats
from twelvefold.web.schemas.decode import InvalidValue, OpenObject, RequestObject
from twelvefold.web.schemas.items import RESULT, Refusal, reject_images
from twelvefold.web.schemas.types import CallId

# --- parts ----------------------------------------------------------------------------------------


class ChatText(RequestObject, tag="text"):
    text: str


class ChatImageUrl(RequestObject):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ChatImage(RequestObject, tag="image_url"):
    """The demo model accepts it and does not see it; with any other model it returns 400."""

    image_url: ChatImageUrl


# --- calls ----------------------------------------------------------------------------------------


class ChatFunctionCall(OpenObject):
    name: str
    arguments: str


class ChatToolCall(OpenObject):
    """Members that a client has added are ignored, such as the index of a piece."""

    id: CallId
    function: ChatFunctionCall
    type: Annotated[Any, Meta(extra_json_schema={"enum": ["function", None]})] = None

    def __post_init__(self) -> None:
        if self.type not in (None, "function"):
            raise InvalidValue("must be function", "type", code="unsupported_value")

    def item(self) -> Item:
        return {"type": "function_call", "call_id": self.id, **msgspec.to_builtins(self.function)}


# --- messages -------------------------------------------------------------------------------------


class _Message(RequestObject, tag_field="role", kw_only=True):
    MISSING_TAG = "missing_required_parameter"
    UNSUPPORTED: ClassVar = {"audio": (), "function_call": (), "tool_calls": ([],)}

    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


class _InputMessage(_Message, kw_only=True):
    content: str | list[ChatText | ChatImage]

    def items(self) -> list[Item]:
        return [_message(str(self.__struct_config__.tag), _content(self.content))]


class SystemMessage(_InputMessage, tag="system"):
    """Instructions."""


class DeveloperMessage(_InputMessage, tag="developer"):
    """Instructions."""


class UserMessage(_InputMessage, tag="user"):
    """A message of the user."""


class AssistantMessage(_Message, tag="assistant", kw_only=True):
    """An earlier answer. Members that a client has added are ignored, such as its reasoning."""

    UNSUPPORTED: ClassVar = {"audio": (), "function_call": ()}

    content: str | list[ChatText | Refusal] | None = None
    tool_calls: list[ChatToolCall] | None = None

    def __post_init__(self) -> None:
        if self.content is None and self.refusal is None and not self.tool_calls:
            raise InvalidValue("is missing", "content", code="missing_required_parameter")

    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        if key in cls.UNSUPPORTED:
            super().check_unknown(key, value)

    def items(self) -> list[Item]:
        content = self.refusal if self.content is None else self.content
        calls = [call.item() for call in self.tool_calls or ()]
        if calls and not content:
            return calls
        return [_message("assistant", _content(content or "", "output_text")), *calls]


class ToolMessage(_Message, tag="tool", kw_only=True):
    """The result of a call."""

    tool_call_id: CallId
    content: str | list[ChatText]

    def items(self) -> list[Item]:
        output = _content(self.content)
        return [{"type": RESULT, "call_id": self.tool_call_id, "output": output}]


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def reject_functions(messages: object) -> None:
    """Raise ApiError for a message of the role that `tool` has replaced in the API."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict) and message.get("role") == "function":
            text = "'function' is not supported here; use 'tool'"
            raise_invalid(text, f"messages[{index}].role", "unsupported_value")


def items_of(messages: Sequence[ChatMessage], *, images: bool) -> tuple[Item, ...]:
    """Return the items of messages in order, without repeated ones; `images`: images are accepted.

    Raises ApiError.
    """
    items_by_message = [message.items() for message in messages]
    places = [f"messages[{n}]" for n, items in enumerate(items_by_message) for _ in items]
    items = [item for one in items_by_message for item in one]
    if not images:
        reject_images(items, places)
    params = [f"{place}.tool_call_id" for place in places]
    return without_repeats(items, at="messages", params=params)


def _message(role: str, content: str | list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _content(
    content: str | Sequence[ChatText | ChatImage | Refusal], text: str = "input_text"
) -> str | list[Item]:
    return content if isinstance(content, str) else [_part(part, text) for part in content]


def _part(part: ChatText | ChatImage | Refusal, text: str) -> Item:
    match part:
        case ChatText():
            return {"type": text, "text": part.text}
        case ChatImage(image_url=image):
            detail = {} if image.detail is None else {"detail": image.detail}
            return {"type": "input_image", "image_url": image.url, **detail}
        case Refusal():
            return {"type": "refusal", "refusal": part.refusal}
