"""The cases of the Open Responses suite that need only HTTP, with the demo model and no settings.

Its types know no `mcp_call`, so that no tool of the server's may run in any of them. The types
themselves are held against the service by tests/conformance.
"""

from typing import Any

import pytest

from tests.web.serving import Json, Serve, Served
from twelvefold.services.model.demo import open_demo
from twelvefold.workflows.enrolment.workflow import workflow as enrolment

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAA"
    "AABJRU5ErkJggg=="
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state."}},
        "required": ["location"],
    },
}


def said(text: object, role: str = "user") -> Json:
    return {"type": "message", "role": role, "content": text}


LOOK = [
    {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."},
    {"type": "input_image", "image_url": DOT},
]
THERE = said("What's the weather like in San Francisco?")
CALL = {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "18 degrees"}
NAMED = {"type": "function", "name": "get_weather"}


@pytest.fixture(name="demo")
async def _demo(serve: Serve) -> Served:
    return await serve(model=open_demo(), workflow=enrolment)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "output"),
    [
        pytest.param([said("Say hello in exactly 3 words.")], "message", id="basic"),
        pytest.param([said("Count from 1 to 5.")], "message", id="streaming"),
        pytest.param(
            [
                said("You are a pirate. Always respond in pirate speak.", "system"),
                said("Say hello."),
            ],
            "message",
            id="system prompt",
        ),
        pytest.param({"input": [THERE], "tools": [WEATHER]}, "function_call", id="tool"),
        pytest.param(
            {"input": [THERE], "tools": [WEATHER], "tool_choice": NAMED},
            "function_call",
            id="named tool",
        ),
        pytest.param(
            {"input": [THERE, CALL, RESULT], "tools": [WEATHER]}, "message", id="round trip"
        ),
        pytest.param([said(LOOK)], "message", id="image"),
        pytest.param(
            [
                said("My name is Alice."),
                said("Hello Alice! Nice to meet you. How can I help you today?", "assistant"),
                said("What is my name?"),
            ],
            "message",
            id="several turns",
        ),
    ],
)
async def test_the_suites_cases_pass(demo: Served, body: Any, output: str, stream: bool) -> None:
    asked = body if isinstance(body, dict) else {"input": body}
    how = {"model": "enrolment", **asked}

    if stream:
        response = (await demo.told(how.pop("input"), **how))[-1]["response"]
    else:
        response = await demo.ask(how.pop("input"), **how)

    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == [output]


async def test_a_round_trip_continues_from_the_previous_response(demo: Served) -> None:
    how: Json = {"model": "enrolment", "tools": [WEATHER]}
    first = await demo.ask([THERE], **how)
    [call] = first["output"]
    result = RESULT | {"call_id": call["call_id"]}

    second = await demo.ask([result], previous_response_id=first["id"], **how)
    whole = await demo.ask([THERE, call, result], **how)

    for response in (second, whole):
        assert [item["type"] for item in response["output"]] == ["message"]
        assert "18 degrees" in response["output"][0]["content"][0]["text"]
