"""The body of `POST /v1/responses`.

Source: the request body of `POST /responses` of the OpenAI API. A parameter is used, refused or
unknown: none that would change the result is ignored.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from twelvefold.web.schemas.items import FunctionTool, InputItem
from twelvefold.web.schemas.types import (
    PASSED,
    RETURNED,
    STREAM,
    TOOL_CHOICE,
    UNUSED,
    Id,
    InvalidValue,
    Metadata,
    ModelName,
    RequestObject,
    Temperature,
    Text64,
    Text512,
    Tokens,
    ToolName,
    TopP,
    Verbosity,
)


class StreamOptions(RequestObject):
    include_obfuscation: bool | None = None


class ConversationReference(RequestObject):
    id: Id


class Reasoning(RequestObject):
    effort: Text64 | None = None
    summary: Text64 | None = None
    generate_summary: Text64 | None = None


class _PlainFormat(RequestObject):
    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        raise InvalidValue(
            f"must be json_schema where there is {key}", "type", code="unsupported_value"
        )


class PlainText(_PlainFormat, tag="text"):
    """Any text."""


class JsonObject(_PlainFormat, tag="json_object"):
    """Any JSON object."""


class JsonSchema(RequestObject, tag="json_schema", kw_only=True):
    """JSON that fits a schema."""

    name: ToolName
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestObject):
    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: Verbosity | None = None


class FunctionChoice(RequestObject, tag="function"):
    name: str


class AllowedTool(RequestObject):
    type: Literal["function"]
    name: str


class AllowedTools(RequestObject, tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


ToolChoice = Literal["none", "auto", "required"] | FunctionChoice | AllowedTools
_INSTRUCTIONS = Meta(description="Appended to those of the workflow, for this turn alone.")
_PREVIOUS = Meta(description="The response to continue from. Excludes `conversation`.")
_BACKGROUND = Meta(description="Answer immediately; a worker drives the run.")
_STORE = Meta(description="False: the response cannot be read later.")


class CreateResponse(RequestObject, kw_only=True):
    """A turn of a workflow."""

    UNSUPPORTED = dict.fromkeys(("prompt", "moderation", "context_management"), ())

    model: ModelName
    input: str | Annotated[list[InputItem], Meta(min_length=1)]
    instructions: Annotated[str, _INSTRUCTIONS] | None = None
    previous_response_id: Annotated[Id, _PREVIOUS] | None = None
    conversation: Id | ConversationReference | None = None
    background: Annotated[bool, _BACKGROUND] | None = None
    store: Annotated[bool, _STORE] | None = None
    stream: Annotated[bool, STREAM] | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=128)] | None = None
    tool_choice: Annotated[ToolChoice, TOOL_CHOICE] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Tokens | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=2**31 - 1)] | None = None
    temperature: Annotated[Temperature, PASSED] | None = None
    top_p: Annotated[TopP, PASSED] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20), RETURNED] | None = None
    text: Annotated[TextOptions, PASSED] | None = None
    reasoning: Annotated[Reasoning, PASSED] | None = None
    metadata: Metadata | None = None
    include: Annotated[list[str], Meta(max_length=100), UNUSED] | None = None
    truncation: Annotated[Literal["auto", "disabled"], RETURNED] | None = None
    service_tier: Annotated[Text64, UNUSED] | None = None
    user: Annotated[Text512, RETURNED] | None = None
    safety_identifier: Annotated[Text64, RETURNED] | None = None
    prompt_cache_key: Annotated[Text512, RETURNED] | None = None
    prompt_cache_retention: Annotated[str, UNUSED] | None = None
    prompt_cache_options: Annotated[dict[str, Any], UNUSED] | None = None
