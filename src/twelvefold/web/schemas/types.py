"""Types of the API that several requests or responses share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from twelvefold.core import FinalStatus

Json = dict[str, Any]
ToolItems = Literal["mcp_call", "function", "hidden"]
ToolOutputs = Literal["full", "summary", "none"]
InputFiles = Literal["full", "summary", "none"]
ResponseStatus = Literal["queued", "in_progress"] | FinalStatus
ItemStatus = Literal["in_progress", "completed", "incomplete", "failed"]

# Python's `$` accepts a line break behind it.
END = r"(?![\s\S])"
_TOOL_NAME = rf"^[a-zA-Z0-9_-]{{1,64}}{END}"
# Proxies of Gemini put a thought signature of some thousand characters into their ids.
_CALL_ID = rf"^[\s\S]{{1,65536}}{END}"
FORMS = {
    _TOOL_NAME: "1 to 64 letters, digits, _ or -",
    _CALL_ID: "a string of 1 to 65536 characters",
}
"""The description of each pattern, for error messages."""

PASSED = Meta(description="Passed to the model.")
RETURNED = Meta(description="Returned in the response, without effect.")
UNUSED = Meta(description="Accepted, without effect.")
STREAM = Meta(description="Answer with server-sent events.")
TOOL_CHOICE = Meta(description="Applies to the server's tools, too.")
IMAGE_URL = Meta(
    description="http:// or https://, or a data URL with base64 of a PNG, JPEG, WebP or GIF."
)
FILE_DATA = Meta(
    description="A data URL with base64 of a PDF, text, Markdown, CSV or JSON; needs `filename`."
)
NO_FILES = Meta(description="Not supported: this server has no Files API.")

ModelName = Annotated[
    str,
    Meta(description="A workflow, or `workflow/model`, as `GET /v1/models` lists them."),
]
Id = Annotated[str, Meta(min_length=1)]
CallId = Annotated[str, Meta(pattern=_CALL_ID)]
ToolName = Annotated[str, Meta(pattern=_TOOL_NAME)]
Text64 = Annotated[str, Meta(max_length=64)]
Text512 = Annotated[str, Meta(max_length=512)]
Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
Verbosity = Literal["low", "medium", "high"]
Metadata = Annotated[
    dict[Text64, Text512],
    Meta(max_length=16, description="Kept beside the object and returned with it."),
]
Path = tuple[str | int, ...]
_NAME_CHARS = 60


class InvalidValue(ValueError):
    """A value that msgspec's types cannot refuse; `at` is its path below the struct at fault."""

    def __init__(self, message: str, *at: str | int, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.at: Path = at
        self.code = code


class RequestObject(msgspec.Struct, omit_defaults=True):
    """A JSON object of a request. A member that is null counts as left out.

    `UNSUPPORTED` names members that the OpenAI API has and this server has not, each with the
    values that change nothing and are therefore accepted. `MISSING_TAG` is the code for an object
    without the member that tells its kind.
    """

    UNSUPPORTED: ClassVar[Mapping[str, Sequence[object]]] = {}
    MISSING_TAG: ClassVar[str] = "unsupported_value"

    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        """Raise InvalidValue for a member that is no field."""
        if key not in cls.UNSUPPORTED:
            name = key if len(key) <= _NAME_CHARS else f"{key[:_NAME_CHARS]}…"
            raise InvalidValue("is not known", name, code="unknown_parameter")
        harmless = cls.UNSUPPORTED[key]
        if not any(type(value) is type(one) and value == one for one in harmless):
            raise InvalidValue("is not supported here", key, code="unsupported_parameter")


class OpenObject(RequestObject):
    """A JSON object whose unknown members are ignored."""

    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        """Accept every member."""


class Variants(ABC):
    """A JSON object that may be one of several structs, which msgspec cannot tell apart."""

    VARIANTS: ClassVar[Sequence[type[RequestObject]]] = ()

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return other in cls.VARIANTS

    @classmethod
    @abstractmethod
    def variant(cls, raw: object) -> Any:
        """Return the struct for a value, or the union of some. Raises InvalidValue."""
