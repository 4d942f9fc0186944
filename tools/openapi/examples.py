"""An example of each body and each answer of the API. Tests hold them to the schemas."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tools.openapi.admin_examples import ADMIN_EXAMPLES
from tools.openapi.operator_examples import OPERATOR_EXAMPLES
from twelvefold.web.schemas import objects
from twelvefold.web.schemas.answers import AnswerQuestion
from twelvefold.web.schemas.chat_completions import CreateChatCompletion
from twelvefold.web.schemas.conversations import (
    CreateConversation,
    CreateItems,
    ForkConversation,
    UpdateConversation,
)
from twelvefold.web.schemas.responses import CreateResponse
from twelvefold.web.schemas.signals import SendSignal

_ID = "01a22784967b709cf5dd7abe1f8c6d2b81495ae039af"
_QUESTION_ID = f"ask_{_ID}2.0"
_ASKED = {
    "id": _QUESTION_ID,
    "object": "question",
    "question": "Which colour?",
    "schema": {"enum": ["red", "blue"], "type": "string"},
    "workflow": "orders",
    "response": f"resp_{_ID}1",
    "conversation": f"conv_{_ID}",
    "asked_at": 1795959331.25,
    "expires_at": None,
}
_QUESTION = "Which courses on databases are there?"
_ANSWER = "There is one: DB-101, Databases, on Mondays."
_FUNCTION = {
    "name": "get_weather",
    "description": "Return the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
_RESPONSE: Mapping[str, Any] = {
    "id": f"resp_{_ID}1",
    "object": "response",
    "created_at": 1795959330,
    "completed_at": 1795959331,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "usage": {
        "input_tokens": 841,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 21,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 862,
    },
    "model": "enrolment",
    "output": [
        {
            "id": f"msg_{_ID}2",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": _ANSWER, "annotations": [], "logprobs": []}
            ],
        }
    ],
    "background": False,
    "previous_response_id": None,
    "conversation": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_tool_calls": None,
    "max_output_tokens": None,
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "metadata": {"source": "homepage"},
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "truncation": "disabled",
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
    "user": None,
}
_MESSAGE = {"type": "message", "role": "user", "content": _QUESTION}
_ITEM = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": _QUESTION}],
    "status": "completed",
    "id": f"msg_{_ID}1i0",
}
_CONVERSATION = {
    "id": f"conv_{_ID}",
    "object": "conversation",
    "created_at": 1795959330,
    "metadata": {"source": "homepage"},
}
_SUMMARY = {
    **_CONVERSATION,
    "title": _QUESTION,
    "status": "completed",
    "response": f"resp_{_ID}1",
    "model": "enrolment",
    "forked_from": None,
}
_MODEL = {
    "id": "enrolment",
    "object": "model",
    "created": 0,
    "owned_by": "twelvefold",
    "accepts": ["image", "file"],
    "examples": ["Sign me up for PY-101, please."],
}
_COMPLETION = {
    "id": f"chatcmpl-{_ID}1",
    "object": "chat.completion",
    "created": 1795959330,
    "model": "enrolment",
    "service_tier": "default",
    "system_fingerprint": None,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": _ANSWER,
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 841,
        "completion_tokens": 21,
        "total_tokens": 862,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
}
_ENTRY = {
    "position": 1,
    "type": "ItemsAdded",
    "run": 0,
    "response": None,
    "inherited": False,
    "at": 1795959330.52,
    "took_ms": None,
    "items": [_MESSAGE],
}


def _listed(*data: Mapping[str, Any]) -> Mapping[str, Any]:
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": False}
    return {"object": "list", "data": data, **ends}


EXAMPLES: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
    **ADMIN_EXAMPLES,
    **OPERATOR_EXAMPLES,
    CreateResponse: {
        "model": "enrolment",
        "input": _QUESTION,
        "instructions": "Answer in one sentence.",
        "tools": [{"type": "function", **_FUNCTION}],
        "metadata": {"source": "homepage"},
    },
    CreateChatCompletion: {
        "model": "enrolment",
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": _QUESTION},
        ],
        "tools": [{"type": "function", "function": _FUNCTION}],
    },
    CreateConversation: {"metadata": {"source": "homepage"}, "items": [_MESSAGE]},
    UpdateConversation: {"metadata": {"source": "newsletter"}},
    CreateItems: {"items": [_MESSAGE]},
    ForkConversation: {"position": 4},
    AnswerQuestion: {"call_id": _QUESTION_ID, "output": "blue"},
    objects.QuestionList: _listed(_ASKED),
    objects.GivenAnswer: {"object": "answer", "call_id": _QUESTION_ID},
    SendSignal: {"workflow": "enrolment", "key": "payment:123", "payload": {"amount": 12}},
    objects.SentSignal: {"object": "signal", "key": "payment:123", "first": True},
    objects.Response: _RESPONSE,
    objects.ChatCompletion: _COMPLETION,
    objects.Deleted: {"id": f"conv_{_ID}", "object": "conversation.deleted", "deleted": True},
    objects.Item: _ITEM,
    objects.ItemList: _listed(_ITEM),
    objects.Conversation: _CONVERSATION,
    objects.ConversationSummary: _SUMMARY,
    objects.ConversationList: _listed(_SUMMARY),
    objects.Journal: {"object": "list", "data": [_ENTRY], "last": 1, "has_more": False},
    objects.Model: _MODEL,
    objects.ModelList: {"object": "list", "data": [_MODEL]},
    objects.Health: {"status": "ok"},
    objects.Readiness: {
        "status": "ready",
        "database": "answers",
        "schema": "0005",
        "schema_needed": "0005",
    },
    objects.Version: {
        "name": "twelvefold",
        "version": "0.1.0",
        "commit": "",
        "release": "0.1.0",
        "schema": "0005",
    },
    objects.Error: {
        "error": {
            "message": "temperature: must be at most 2",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": "decimal_above_max_value",
        }
    },
}
EVENTS: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
    objects.Response: {
        "event": "response.output_text.delta",
        "data": (
            '{"type":"response.output_text.delta","sequence_number":4,'
            f'"item_id":"msg_{_ID}2","output_index":0,"content_index":0,'
            '"delta":"There is one","logprobs":[]}'
        ),
    },
    objects.ChatCompletion: {
        "data": (
            f'{{"id":"chatcmpl-{_ID}1","object":"chat.completion.chunk","created":1795959330,'
            '"model":"enrolment","service_tier":"default","system_fingerprint":null,"choices":'
            '[{"index":0,"delta":{"content":"There is one"},"logprobs":null,"finish_reason":null}]}'
        )
    },
}
"""One event of each stream."""
