"""The items that a caller may send, and the functions that it offers.

Source: the `input` union of the OpenAI Responses API. An item that only OpenAI's own tools make
returns 400: a model that lacks it would answer wrongly.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from msgspec import Meta

from twelvefold.core import (
    InvalidAttachment,
    check_file,
    check_image,
)
from twelvefold.web.http import abbreviate
from twelvefold.web.schemas.types import (
    FILE_DATA,
    IMAGE_URL,
    NO_FILES,
    CallId,
    InvalidValue,
    RequestObject,
    ToolName,
    Variants,
)

REFERENCE = "item_reference"
ANSWER = "mcp_approval_response"
QUESTION = "ask_"
"""What the `call_id` of a tool's question begins with."""
RESULT = "function_call_output"
CALL_ITEMS = ("function_call", RESULT)
"""Items that are compared with the conversation's calls."""
Status = Literal["in_progress", "completed", "incomplete", "calling", "failed"]
Choices = Collection[frozenset[str]]
"""The inputs that each of the models takes which may be asked."""


# --- parts of a message ---------------------------------------------------------------------------


class InputText(RequestObject, tag="input_text"):
    text: str


class OutputText(RequestObject, tag="output_text"):
    text: str
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[Any] | None = None


class Refusal(RequestObject, tag="refusal"):
    refusal: str


class InputImage(RequestObject, tag="input_image"):
    """An image for a model that takes images. The server does not fetch its URL."""

    image_url: Annotated[str, IMAGE_URL] | None = None
    file_id: Annotated[str, NO_FILES] | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None

    def __post_init__(self) -> None:
        with invalid_members():
            check_image(self.image_url, self.file_id)


class InputFile(RequestObject, tag="input_file"):
    """A file for a model that takes files: either `file_url`, or `file_data` and `filename`."""

    file_data: Annotated[str, FILE_DATA] | None = None
    filename: str | None = None
    file_url: Annotated[str, Meta(description="http:// or https://; not fetched here.")] | None = (
        None
    )
    file_id: Annotated[str, NO_FILES] | None = None

    def __post_init__(self) -> None:
        with invalid_members():
            check_file(self.file_url, self.file_data, self.filename, self.file_id)


@contextmanager
def invalid_members(**names: str) -> Iterator[None]:
    """Raise InvalidValue in place of InvalidAttachment; `names` are those of other members."""
    try:
        yield
    except InvalidAttachment as error:
        member = names.get(error.member, error.member)
        raise InvalidValue(str(error), member, code=error.code) from None


# --- items ----------------------------------------------------------------------------------------

Parent = Annotated[
    str | None,
    Meta(description="The call whose run below the item is of. Such an item is dropped."),
]


class _Message(RequestObject, kw_only=True):
    type: Literal["message"] | None = None
    id: str | None = None
    status: Status | None = None
    phase: str | None = None

    def __post_init__(self) -> None:
        self.type = "message"


class InputMessage(_Message, kw_only=True):
    role: Literal["user", "system", "developer"]
    content: str | list[InputText | InputImage | InputFile]


class InputAssistantMessage(_Message, kw_only=True):
    role: Literal["assistant"]
    content: str | list[OutputText | Refusal | InputText]
    parent: Parent = None


class InputFunctionCall(RequestObject, tag="function_call"):
    call_id: CallId
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None
    parent: Parent = None


class InputFunctionCallOutput(RequestObject, tag=RESULT):
    call_id: CallId
    output: str | list[InputText | InputImage | InputFile]
    id: str | None = None
    status: Status | None = None
    parent: Parent = None


class InputReasoning(RequestObject, tag="reasoning"):
    id: str | None = None
    summary: list[dict[str, Any]] | None = None
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class InputMcpCall(RequestObject, tag="mcp_call"):
    """Context for the model alone: never evidence that a tool ran."""

    id: str
    name: str
    arguments: str
    status: Status | None = None
    server_label: str | None = None
    output: Any = None
    error: Any = None
    approval_request_id: str | None = None
    parent: Parent = None


class InputMcpListTools(RequestObject, tag="mcp_list_tools"):
    id: str | None = None
    server_label: str | None = None
    tools: list[dict[str, Any]] | None = None
    error: Any = None


class InputMcpApprovalRequest(RequestObject, tag="mcp_approval_request"):
    id: str
    server_label: str | None = None
    name: str | None = None
    arguments: str | None = None


class InputMcpApprovalResponse(RequestObject, tag=ANSWER):
    """Approves or denies the call of an `mcp_approval_request`."""

    approval_request_id: str
    approve: bool
    reason: Annotated[str, Meta(max_length=10_000)] | None = None
    arguments: Annotated[
        Annotated[str, Meta(max_length=1_000_000)] | None,
        Meta(description="JSON: the call runs with these arguments instead of the model's."),
    ] = None
    id: str | None = None


class ItemReference(RequestObject):
    """Stands for an item of a conversation of the caller's."""

    id: str
    type: Literal["item_reference"] | None = None

    def __post_init__(self) -> None:
        self.type = "item_reference"


class InputItem(Variants):
    """One item; without a `type` it is a message, or a reference if it has an id alone."""

    VARIANTS = (
        InputMessage,
        InputAssistantMessage,
        InputFunctionCall,
        InputFunctionCallOutput,
        InputReasoning,
        InputMcpCall,
        InputMcpListTools,
        InputMcpApprovalRequest,
        InputMcpApprovalResponse,
        ItemReference,
    )

    @classmethod
    def variant(cls, raw: object) -> type[RequestObject]:
        """Return the struct for an item. Raises InvalidValue."""
        if not isinstance(raw, dict):
            return InputMessage
        kind = raw.get("type")
        if kind is None:
            kind = REFERENCE if raw.keys() <= {"id", "type"} and "id" in raw else "message"
        if kind == "message" and raw.get("role") is None:
            # The role decides which parts are valid, so it is the error to report.
            raise InvalidValue("is missing", "role", code="missing_required_parameter")
        if kind == "message" and raw["role"] == "assistant":
            return InputAssistantMessage
        if type(kind) is not str or kind not in _ITEMS:
            message = f"{abbreviate(kind)} is not supported here"
            raise InvalidValue(message, "type", code="unsupported_value")
        return _ITEMS[kind]


_ITEMS: Mapping[str, type[RequestObject]] = {
    "message": InputMessage,
    REFERENCE: ItemReference,
    **{
        str(one.__struct_config__.tag): one
        for one in InputItem.VARIANTS
        if one.__struct_config__.tag
    },
}


# --- functions ------------------------------------------------------------------------------------


class Function(RequestObject, kw_only=True):
    """A function that the caller runs."""

    name: ToolName
    description: str | None = None
    parameters: (
        Annotated[dict[str, Any], Meta(description="A JSON Schema of an object.")] | None
    ) = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        if self.parameters is not None:
            _check_schema(self.parameters)


class FunctionTool(Function, tag="function"):
    """A function that the caller runs; no tool of the server has its name."""

    MISSING_TAG = "missing_required_parameter"


def _check_schema(schema: Mapping[str, Any]) -> None:
    """Raise InvalidValue for function parameters that a model's server would refuse."""
    if schema.get("type", "object") != "object":
        message = f"must be the schema of an object, not of {abbreviate(schema['type'])}"
        raise InvalidValue(message, "parameters")
    properties = schema.get("properties") or {}
    _check_type(properties, dict, "properties")
    for key, one in properties.items():
        if type(one) is not bool:
            _check_type(one, dict, "properties", key)
    required = schema.get("required") or []
    _check_type(required, list, "required")
    for index, one in enumerate(required):
        _check_type(one, str, "required", index)


def _check_type(value: object, kind: type[object], *at: str | int) -> None:
    if type(value) is not kind:
        names: Mapping[type[object], str] = {dict: "an object", list: "an array", str: "a string"}
        raise InvalidValue(f"must be {names[kind]}", "parameters", *at, code="invalid_type")
