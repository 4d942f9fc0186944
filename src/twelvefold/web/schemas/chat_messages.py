"""The messages of a chat completion, and the items of the Responses API that they stand for.

Source: `messages` of `POST /chat/completions` of the OpenAI API.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from twelvefold.core import Item, check_file, check_image
from twelvefold.web.http import raise_invalid
from twelvefold.web.schemas.call_results import without_repeats
from twelvefold.web.schemas.items import RESULT, Choices, Refusal, invalid_members
from twelvefold.web.schemas.turns import reject_unaccepted
from twelvefold.web.schemas.types import (
    FILE_DATA,
    IMAGE_URL,
    NO_FILES,
    CallId,
    InvalidValue,
    OpenObject,
    RequestObject,
)

# --- parts ----------------------------------------------------------------------------------------


class ChatText(RequestObject, tag="text"):
    text: str


class ChatImageUrl(RequestObject):
    url: Annotated[str, IMAGE_URL]
    detail: Literal["auto", "low", "high"] | None = None

    def __post_init__(self) -> None:
        with invalid_members(image_url="url"):
            check_image(self.url, None)


class ChatImage(RequestObject, tag="image_url"):
    """An image for a model that takes images. The server does not fetch its URL."""

    image_url: ChatImageUrl


class ChatFileData(RequestObject):
    file_data: Annotated[str, FILE_DATA] | None = None
    filename: str | None = None
    file_id: Annotated[str, NO_FILES] | None = None

    def __post_init__(self) -> None:
        with invalid_members():
            check_file(None, self.file_data, self.filename, self.file_id)


class ChatFile(RequestObject, tag="file"):
    """A file for a model that takes files."""

    file: ChatFileData


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
    content: str | list[ChatText | ChatImage | ChatFile]

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


_Part = ChatText | ChatImage | ChatFile | Refusal
ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def reject_functions(messages: object) -> None:
    """Raise ApiError for a message of the role that `tool` has replaced in the API."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict) and message.get("role") == "function":
            text = "'function' is not supported here; use 'tool'"
            raise_invalid(text, f"messages[{index}].role", "unsupported_value")


def items_of(messages: Sequence[ChatMessage], choices: Choices) -> tuple[Item, ...]:
    """Return the items of messages in order, without repeated ones.

    Raises ApiError, also for images and files that none of the models in `choices` takes.
    """
    items_by_message = [message.items() for message in messages]
    places = [f"messages[{n}]" for n, items in enumerate(items_by_message) for _ in items]
    items = [item for one in items_by_message for item in one]
    reject_unaccepted(items, choices, places)
    params = [f"{place}.tool_call_id" for place in places]
    return without_repeats(items, at="messages", params=params)


def _message(role: str, content: str | list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _content(content: str | Sequence[_Part], text: str = "input_text") -> str | list[Item]:
    return content if isinstance(content, str) else [_part(part, text) for part in content]


def _part(part: _Part, text: str) -> Item:
    match part:
        case ChatText():
            return {"type": text, "text": part.text}
        case ChatImage(image_url=image):
            detail = {} if image.detail is None else {"detail": image.detail}
            return {"type": "input_image", "image_url": image.url, **detail}
        case ChatFile(file=file):
            return {"type": "input_file", **msgspec.to_builtins(file)}
        case Refusal():
            return {"type": "refusal", "refusal": part.refusal}
