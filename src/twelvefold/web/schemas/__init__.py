"""What requests and responses of the API contain.

Other packages import these names from here.
"""

from twelvefold.web.schemas.answer_options import changed_options, merge_options
from twelvefold.web.schemas.answers import AnswerQuestion
from twelvefold.web.schemas.call_results import (
    NO_CALLS,
    Call,
    CallHistory,
    brings_calls,
    call_of,
    message_digest,
    without_repeats,
)
from twelvefold.web.schemas.chat_completions import ChatRequest, parse_chat
from twelvefold.web.schemas.conversations import (
    CreateConversation,
    CreateItems,
    ForkConversation,
    UpdateConversation,
)
from twelvefold.web.schemas.decode import json_body, read_body, tool_items_of
from twelvefold.web.schemas.items import ANSWER, CALL_ITEMS, QUESTION, REFERENCE, RESULT, Choices
from twelvefold.web.schemas.signals import SendSignal
from twelvefold.web.schemas.turn_input import check_metadata, parse_items
from twelvefold.web.schemas.turns import (
    TurnRequest,
    answered_id,
    chosen_model,
    is_answer,
    model_names,
    parse_turn,
    plain_items,
    reject_unaccepted,
    workflow_of,
)
from twelvefold.web.schemas.types import (
    InputFiles,
    ItemStatus,
    Json,
    ResponseStatus,
    ToolItems,
    ToolOutputs,
)

__all__ = [
    "ANSWER",
    "CALL_ITEMS",
    "NO_CALLS",
    "QUESTION",
    "REFERENCE",
    "RESULT",
    "AnswerQuestion",
    "Call",
    "CallHistory",
    "ChatRequest",
    "Choices",
    "CreateConversation",
    "CreateItems",
    "ForkConversation",
    "InputFiles",
    "ItemStatus",
    "Json",
    "ResponseStatus",
    "SendSignal",
    "ToolItems",
    "ToolOutputs",
    "TurnRequest",
    "UpdateConversation",
    "answered_id",
    "brings_calls",
    "call_of",
    "changed_options",
    "check_metadata",
    "chosen_model",
    "is_answer",
    "json_body",
    "merge_options",
    "message_digest",
    "model_names",
    "parse_chat",
    "parse_items",
    "parse_turn",
    "plain_items",
    "read_body",
    "reject_unaccepted",
    "tool_items_of",
    "without_repeats",
    "workflow_of",
]
