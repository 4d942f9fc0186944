"""Whether answers and events are as the Open Responses specification has them, by its own types.

`service` are cases of ours, `suite` those of the specification's own suite that need only HTTP.
"""

import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import httpx2
import openresponses_types.types as spec
from pydantic import BaseModel, ValidationError

Json = dict[str, Any]
ASKED_S = 60
TOOL_ITEMS = "Twelvefold-Tool-Items"
# One black dot.
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAA"
    "AABJRU5ErkJggg=="
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a place.",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}


def said(role: str, content: Any) -> Json:
    return {"type": "message", "role": role, "content": content}


LOOK = [
    {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."},
    {"type": "input_image", "image_url": PICTURE},
]
TOOL = {"input": [said("user", "What's the weather like in Oslo?")], "tools": [WEATHER]}
SEARCH = {"model": "enrolment", "input": "I want to learn programming."}
MESSAGE, CALL = ["message"], ["function_call"]
SEARCHED = ["function_call", "function_call_output", "message"]
Cases = dict[str, tuple[Json, list[str]]]
SERVICE: Cases = {
    "text": ({"input": [said("user", "Hello!")]}, MESSAGE),
    "stream": ({"input": [said("user", "Hello!")], "stream": True}, MESSAGE),
    "system": ({"input": [said("system", "Be brief."), said("user", "Hello!")]}, MESSAGE),
    "tool": (TOOL, CALL),
    "tool in a stream": ({**TOOL, "stream": True}, CALL),
    "history": (
        {
            "input": [
                said("user", "I am Ann."),
                said("assistant", "Hello Ann!"),
                said("user", "Hi."),
            ]
        },
        MESSAGE,
    ),
    "settings": (
        {
            "input": "Hello!",
            "instructions": "Be brief.",
            "temperature": 0.2,
            "top_p": 0.9,
            "max_output_tokens": 500,
            "metadata": {"for": "a test"},
            "reasoning": {"effort": "low"},
            "tool_choice": "none",
            "service_tier": "default",
            "prompt_cache_key": "a",
            "safety_identifier": "b",
        },
        MESSAGE,
    ),
    "server's tool": (SEARCH, SEARCHED),
    "server's tool in a stream": ({**SEARCH, "stream": True}, SEARCHED),
    "background": ({"input": "Hello!", "background": True}, []),
}
WEATHER_THERE = said("user", "What's the weather like in San Francisco?")
MY_CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"location":"San Francisco"}',
}
SUITE: Cases = {
    "basic-response": ({"input": [said("user", "Say hello in exactly 3 words.")]}, MESSAGE),
    "streaming-response": (
        {"input": [said("user", "Count from 1 to 5.")], "stream": True},
        MESSAGE,
    ),
    "system-prompt": (
        {
            "input": [
                said("system", "You are a pirate. Always respond in pirate speak."),
                said("user", "Say hello."),
            ]
        },
        MESSAGE,
    ),
    "tool-calling": ({"input": [WEATHER_THERE], "tools": [WEATHER]}, CALL),
    "streaming-tool-call": (
        {
            "input": [WEATHER_THERE],
            "tools": [WEATHER],
            "tool_choice": {"type": "function", "name": "get_weather"},
            "stream": True,
        },
        CALL,
    ),
    "function-call-roundtrip": (
        {
            "input": [
                WEATHER_THERE,
                MY_CALL,
                {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"},
            ],
            "tools": [WEATHER],
        },
        MESSAGE,
    ),
    "image-input": ({"input": [said("user", LOOK)]}, MESSAGE),
    "multi-turn": (
        {
            "input": [
                said("user", "My name is Alice."),
                said("assistant", "Hello Alice! Nice to meet you. How can I help you today?"),
                said("user", "What is my name?"),
            ]
        },
        MESSAGE,
    ),
    "server's tool by header": ({**SEARCH, "headers": {TOOL_ITEMS: "function"}}, SEARCHED),
    "server's tool hidden": ({**SEARCH, "headers": {TOOL_ITEMS: "hidden"}}, MESSAGE),
}
SETS = {"service": ("refunds", SERVICE), "suite": ("enrolment", SUITE)}
model, cases = SETS[sys.argv[1]]


def events() -> Iterator[tuple[str, type[BaseModel]]]:
    """The specification's events by their types."""
    for name, kind in vars(spec).items():
        if name.endswith("StreamingEvent"):
            words = kind.model_fields["type"].annotation
            assert issubclass(words, StrEnum)
            yield from ((word.value, kind) for word in words)


EVENTS = dict(events())


def asked(body: Json) -> bytes:
    """The whole answer to a request; `headers` in it are no part of the body."""
    headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    answer = httpx2.post(
        os.environ["OPENAI_BASE_URL"] + "/responses",
        json={"model": model, **{key: body[key] for key in body if key != "headers"}},
        headers=headers | body.get("headers", {}),
        timeout=ASKED_S,
    )
    assert answer.is_success, answer.text
    return answer.content


def problems(kind: type[BaseModel], value: Json) -> list[str]:
    try:
        kind.model_validate(value)
    except ValidationError as error:
        return [
            f"{value.get('type', 'response')}: {one['loc']}: {one['msg']}" for one in error.errors()
        ]
    return []


def streamed(answer: bytes) -> tuple[Json, list[str]]:
    """The response that a stream ends with, and what is wrong with its events."""
    *blocks, done = answer.decode().removesuffix("\n\n").split("\n\n")
    wrong = [] if done == "data: [DONE]" else [f"the stream ends with {done!r}"]
    told: Json = {}
    for block in blocks:
        name, data = block.split("\n")
        told = json.loads(data.removeprefix("data: "))
        wrong += [] if name == f"event: {told['type']}" else [f"{name}: {told['type']}"]
        wrong += problems(EVENTS[told["type"]], told)
    return told["response"], wrong


def wrong_with(body: Json, output: list[str]) -> list[str]:
    answer = asked(body)
    response, wrong = streamed(answer) if body.get("stream") else (json.loads(answer), [])
    found = [item["type"] for item in response["output"]]
    wrong += [] if found == output else [f"the output is {found}, not {output}"]
    return wrong + problems(spec.ResponseResource, response)


print(json.dumps({name: wrong_with(*case) for name, case in cases.items()}))
