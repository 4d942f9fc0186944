"""The objects in the answers of the API, as `/openapi.json` describes them.

Source: the OpenAI API. Summaries of conversations, the journal and the probes are this server's
own.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from twelvefold.core import RunStatus
from twelvefold.web.schemas.items import Refusal
from twelvefold.web.schemas.types import ItemStatus, Metadata, ResponseStatus


class Answer(Struct, forbid_unknown_fields=True):
    """An object with the members of its fields alone."""


# --- items ----------------------------------------------------------------------------------------


class TextPart(Answer, tag="output_text"):
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[dict[str, Any]]


class OutputMessage(Answer, tag="message"):
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[TextPart | Refusal]
    phase: str | UnsetType = UNSET
    parent: str | UnsetType = UNSET


class FunctionCall(Answer, tag="function_call"):
    """A call of a function that the caller runs."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str
    parent: str | UnsetType = UNSET


class FunctionCallOutput(Answer, tag="function_call_output"):
    id: str
    status: ItemStatus
    call_id: str
    output: str | list[dict[str, Any]]
    parent: str | UnsetType = UNSET


class McpError(Answer):
    type: str
    content: list[dict[str, Any]]


class McpCall(Answer, tag="mcp_call"):
    """A call of a tool that the server runs."""

    id: str
    status: ItemStatus
    server_label: str
    name: str
    arguments: str
    output: str | None
    error: McpError | None
    approval_request_id: str | None
    parent: str | UnsetType = UNSET


class McpApprovalRequest(Answer, tag="mcp_approval_request"):
    """A call that waits for approval by an `mcp_approval_response` in the next input."""

    id: str
    server_label: str
    name: str
    arguments: str


class Item(Struct):
    """An item of an input or an output; its other members depend on its type."""

    id: str
    type: str


class ItemList(Answer):
    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


# --- a response -----------------------------------------------------------------------------------


class InputTokens(Answer):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokens(Answer):
    reasoning_tokens: int


class Usage(Answer):
    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int


class ResponseError(Answer):
    code: str
    message: str
    type: str
    param: str | None


class IncompleteDetails(Answer):
    reason: Literal["max_output_tokens", "content_filter"]


class ConversationId(Answer):
    id: str


class Response(Answer):
    """A run, or the part of it behind a wait. Options that the request left out have defaults."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: ResponseStatus
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    usage: Usage | None
    model: str
    output: list[OutputMessage | FunctionCall | FunctionCallOutput | McpCall | McpApprovalRequest]
    background: bool
    previous_response_id: str | None
    conversation: ConversationId | None
    instructions: str | None
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    max_tool_calls: int | None
    max_output_tokens: int | None
    text: dict[str, Any]
    reasoning: dict[str, Any]
    store: bool
    metadata: Metadata
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    truncation: str
    service_tier: str
    safety_identifier: str | None
    prompt_cache_key: str | None
    user: str | None


class Deleted(Answer):
    id: str
    object: str
    deleted: bool


class SentSignal(Answer):
    """`first`: this delivery of the event counts; an earlier one has been sent otherwise."""

    object: Literal["signal"]
    key: str
    first: bool


class Question(Answer):
    """A question of a tool that waits for the caller's answer; `POST /v1/answers` takes its `id`.

    `schema` is the JSON Schema of the answer. `response` and `conversation` are those of the run
    that asks; a caller who has not started it cannot read them. The question ends at `expires_at`.
    """

    id: str
    object: Literal["question"]
    question: str
    schema: dict[str, Any]
    workflow: str
    response: str
    conversation: str
    asked_at: float
    expires_at: float | None


class QuestionList(Answer):
    object: Literal["list"]
    data: list[Question]
    first_id: str | None
    last_id: str | None
    has_more: bool


class GivenAnswer(Answer):
    """The answer to the question `call_id` counts. Nothing else of the run is shown."""

    object: Literal["answer"]
    call_id: str


class ServerSentEvent(Answer):
    """Of a response: `event` is the `type` in `data`, whose `sequence_number` counts from 0."""

    data: str
    event: str | UnsetType = UNSET


# --- a chat completion ----------------------------------------------------------------------------


class CalledFunction(Answer):
    name: str
    arguments: str


class CalledTool(Answer, tag="function"):
    id: str
    function: CalledFunction


class ChatAnswer(Answer):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[dict[str, Any]]
    tool_calls: list[CalledTool] | UnsetType = UNSET


class Choice(Answer):
    index: int
    message: ChatAnswer
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"]


class ChatUsage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class ChatCompletion(Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: str
    system_fingerprint: str | None
    choices: list[Choice]
    usage: ChatUsage


# --- conversations --------------------------------------------------------------------------------


class Conversation(Answer):
    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: Metadata


class ForkedFrom(Answer):
    id: str
    position: int


class ConversationSummary(Conversation):
    """A conversation with its title, its latest run and its source."""

    title: str
    status: RunStatus | None
    response: str | None
    model: str | None
    forked_from: ForkedFrom | None


class ConversationList(Answer):
    object: Literal["list"]
    data: list[ConversationSummary]
    first_id: str | None
    last_id: str | None
    has_more: bool


class JournalEntry(Struct):
    """An event; its other members depend on its type."""

    position: int
    type: str
    run: int
    response: str | None
    inherited: bool
    at: float
    took_ms: float | None


class Journal(Answer):
    object: Literal["list"]
    data: list[JournalEntry]
    last: int
    has_more: bool


# --- models, probes and errors --------------------------------------------------------------------


class Model(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    accepts: Annotated[
        list[Literal["image", "file"]], Meta(description="The inputs beside text that it takes.")
    ]
    examples: Annotated[list[str], Meta(description="Messages to begin a conversation with.")]


class ModelList(Answer):
    object: Literal["list"]
    data: list[Model]


class Health(Answer):
    status: Literal["ok"]


class Readiness(Answer):
    status: Literal["ready", "not_ready", "stopping"]
    database: Literal["answers", "does not answer"] | UnsetType = UNSET
    schema: str | UnsetType | None = UNSET
    schema_needed: str | UnsetType = UNSET


class Version(Answer):
    name: str
    version: str
    commit: str
    release: str
    schema: str


class ErrorDetails(Answer):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Answer):
    """OpenAI's envelope; all four members are always present."""

    error: ErrorDetails
