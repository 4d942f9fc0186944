"""LangChain's chat model, by one API or the other.

By Responses it finds the id of the earlier response in the history.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


api, questions = sys.argv[1], json.loads(sys.argv[2])
by_responses: dict[str, Any] = {
    "use_previous_response_id": True,
    "output_version": "responses/v1",
}
model = ChatOpenAI(
    model="enrolment",
    use_responses_api=api == "responses",
    max_retries=0,
    **(by_responses if api == "responses" else {}),
)


def told(message: AIMessage) -> dict[str, Any]:
    blocks = [block for block in message.content if isinstance(block, dict)]
    tools = [block["name"] for block in blocks if block["type"] == "mcp_call"]
    return {"text": message.text, "tools": tools}


def streamed() -> dict[str, Any]:
    chunks = list(model.stream(questions["stream"]))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    return {**told(whole), "pieces": sum(bool(chunk.text) for chunk in chunks)}


def own_tool() -> AIMessage:
    weather = tool(get_weather)
    helped = model.bind_tools([weather])
    said: Sequence[BaseMessage] = [HumanMessage(questions["own_tool"])]
    asked = helped.invoke(said)
    assert isinstance(asked, AIMessage)
    results = [weather.invoke(call) for call in asked.tool_calls]
    answer = helped.invoke([*said, asked, *results])
    assert isinstance(answer, AIMessage)
    return answer


wish = HumanMessage(questions["tools"])
first = model.invoke([wish])
print(
    json.dumps(
        {
            "text": told(model.invoke(questions["text"])),
            "tools": told(first),
            "second": told(model.invoke([wish, first, HumanMessage(questions["second"])])),
            "stream": streamed(),
            "own_tool": told(own_tool()),
        }
    )
)
