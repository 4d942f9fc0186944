"""LiteLLM, by one API or the other."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

# Without it LiteLLM looks for a table of prices on the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

MODEL = "openai/enrolment"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
api, questions = sys.argv[1], json.loads(sys.argv[2])


def ask(question: Any, **more: Any) -> Any:
    return litellm.responses(model=MODEL, input=question, **more)


def told(response: Any) -> dict[str, Any]:
    tools = [item.name for item in response.output if item.type == "mcp_call"]
    return {"text": response.output_text, "tools": tools}


def streamed() -> dict[str, Any]:
    events = list(ask(questions["stream"], stream=True))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    response = events[-1].response
    assert "".join(pieces) == response.output_text
    return {**told(response), "pieces": len(pieces)}


def own_tool() -> dict[str, Any]:
    asked = ask(questions["own_tool"], tools=[WEATHER])
    (call,) = (item for item in asked.output if item.type == "function_call")
    output = f"18 degrees in {json.loads(call.arguments)['city']}"
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": output}
    return told(ask([answer], tools=[WEATHER], previous_response_id=asked.id))


def by_responses() -> Iterator[tuple[str, dict[str, Any]]]:
    first = ask(questions["tools"])
    yield "text", told(ask(questions["text"]))
    yield "tools", told(first)
    yield "second", told(ask(questions["second"], previous_response_id=first.id))
    yield "stream", streamed()
    yield "own_tool", own_tool()


def completed(*said: str) -> str:
    """The answer to the last thing that was said; those between are answers, too."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    return str(litellm.completion(model=MODEL, messages=messages).choices[0].message.content)


def by_chat() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "text", {"text": completed(questions["text"]), "tools": []}
    first = completed(questions["tools"])
    yield "tools", {"text": first, "tools": []}
    second = completed(questions["tools"], first, questions["second"])
    yield "second", {"text": second, "tools": []}
    said = [{"role": "user", "content": questions["stream"]}]
    chunks = litellm.completion(model=MODEL, messages=said, stream=True)
    pieces = [piece for chunk in chunks if (piece := chunk.choices[0].delta.content)]
    yield "stream", {"text": "".join(pieces), "tools": [], "pieces": len(pieces)}
    yield "own_tool", {"text": own_tool_by_chat(), "tools": []}


def own_tool_by_chat() -> str:
    tool = {"type": "function", "function": {k: v for k, v in WEATHER.items() if k != "type"}}
    messages: list[Any] = [{"role": "user", "content": questions["own_tool"]}]
    asked = litellm.completion(model=MODEL, messages=messages, tools=[tool]).choices[0].message
    (call,) = asked.tool_calls
    output = f"18 degrees in {json.loads(call.function.arguments)['city']}"
    messages += [asked, {"role": "tool", "tool_call_id": call.id, "content": output}]
    answer = litellm.completion(model=MODEL, messages=messages, tools=[tool])
    return str(answer.choices[0].message.content)


print(json.dumps(dict(by_chat() if api == "chat" else by_responses())))
