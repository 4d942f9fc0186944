"""The official client: every answer checked against its own types, and its helper for streams."""

import json
import sys
from typing import Any

from openai import OpenAI
from openai.types.responses import FunctionToolParam, Response

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
questions = json.loads(sys.argv[1])
client = OpenAI(_strict_response_validation=True)


def ask(question: Any, **more: Any) -> Response:
    response: Response = client.responses.create(model="enrolment", input=question, **more)
    return response


def told(response: Response) -> dict[str, Any]:
    tools = [item.name for item in response.output if item.type == "mcp_call"]
    return {"text": response.output_text, "tools": tools}


def streamed() -> dict[str, Any]:
    with client.responses.stream(model="enrolment", input=questions["stream"]) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    assert "".join(pieces) == response.output_text
    return {**told(response), "pieces": len(pieces)}


def own_tool() -> dict[str, Any]:
    asked = ask(questions["own_tool"], tools=[WEATHER])
    (call,) = (item for item in asked.output if item.type == "function_call")
    output = f"18 degrees in {json.loads(call.arguments)['city']}"
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": output}
    return told(ask([answer], tools=[WEATHER], previous_response_id=asked.id))


first = ask(questions["tools"])
print(
    json.dumps(
        {
            "text": told(ask(questions["text"])),
            "tools": told(first),
            "second": told(ask(questions["second"], previous_response_id=first.id)),
            "stream": streamed(),
            "own_tool": own_tool(),
        }
    )
)
