"""Whether answers and events are as the Open Responses specification has them, by its own types."""

import json
import os
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import httpx2
import openresponses_types.types as spec
from pydantic import BaseModel, ValidationError

Json = dict[str, Any]
ASKED_S = 60
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
    {"type": "input_text", "text": "Hello!"},
    {"type": "input_image", "image_url": PICTURE},
]
TOOL = {"input": [said("user", "What's the weather like in Oslo?")], "tools": [WEATHER]}
SEARCH = {"model": "enrolment", "input": "I want to learn programming."}
MESSAGE, CALL = ["message"], ["function_call"]
SEARCHED = ["function_call", "function_call_output", "message"]
CASES: dict[str, tuple[Json, list[str]]] = {
    "text": ({"input": [said("user", "Hello!")]}, MESSAGE),
    "stream": ({"input": [said("user", "Hello!")], "stream": True}, MESSAGE),
    "system": ({"input": [said("system", "Be brief."), said("user", "Hello!")]}, MESSAGE),
    "tool": (TOOL, CALL),
    "tool in a stream": ({**TOOL, "stream": True}, CALL),
    "picture": ({"input": [said("user", LOOK)]}, MESSAGE),
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


def events() -> Iterator[tuple[str, type[BaseModel]]]:
    """The specification's events by their types."""
    for name, kind in vars(spec).items():
        if name.endswith("StreamingEvent"):
            words = kind.model_fields["type"].annotation
            assert issubclass(words, StrEnum)
            yield from ((word.value, kind) for word in words)


EVENTS = dict(events())


def asked(body: Json) -> bytes:
    """The whole answer to a request."""
    answer = httpx2.post(
        os.environ["OPENAI_BASE_URL"] + "/responses",
        json={"model": "refunds", **body},
        headers={"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
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


print(json.dumps({name: wrong_with(*case) for name, case in CASES.items()}))
