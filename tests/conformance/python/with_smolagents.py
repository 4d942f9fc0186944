"""smolagents: its model by Chat Completions, and an agent that has to call a tool in every step."""

import json
import os
import sys
from typing import Any

from smolagents import OpenAIModel, ToolCallingAgent, tool
from smolagents.monitoring import LogLevel


def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which city.
    """
    return f"18 degrees in {city}"


questions = json.loads(sys.argv[1])
model = OpenAIModel(
    model_id="enrolment",
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
)


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def history(*texts: str) -> list[Any]:
    """What a user and the assistant have said, by turns."""
    roles = ("user", "assistant")
    return [said(roles[n % 2], text) for n, text in enumerate(texts)]


def ask(*texts: str) -> str:
    return str(model.generate(history(*texts)).content)


def streamed() -> dict[str, Any]:
    deltas = model.generate_stream(history(questions["stream"]))
    pieces = [delta.content for delta in deltas if delta.content]
    return {"text": "".join(pieces), "tools": [], "pieces": len(pieces)}


def own_tool() -> str:
    tools = [tool(get_weather)]
    agent = ToolCallingAgent(tools, model, max_steps=3, verbosity_level=LogLevel.OFF)
    return str(agent.run(questions["own_tool"]))


first = ask(questions["tools"])
print(
    json.dumps(
        {
            "text": {"text": ask(questions["text"]), "tools": []},
            "tools": {"text": first, "tools": []},
            "second": {
                "text": ask(questions["tools"], first, questions["second"]),
                "tools": [],
            },
            "stream": streamed(),
            "own_tool": {"text": own_tool(), "tools": []},
        }
    )
)
