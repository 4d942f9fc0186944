"""AutoGen: an agent with a tool of its own, and its client by Chat Completions."""

import asyncio
import json
import sys
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import TextMessage
from autogen_core.models import AssistantMessage, LLMMessage, ModelInfo, UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

questions = json.loads(sys.argv[1])
client = OpenAIChatCompletionClient(
    model="enrolment",
    model_info=ModelInfo(
        vision=False,
        function_calling=True,
        json_output=True,
        structured_output=True,
        family="unknown",
    ),
)


async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


def history(*texts: str) -> list[LLMMessage]:
    """What a user and the assistant have said, by turns."""
    return [
        AssistantMessage(content=text, source="academy")
        if n % 2
        else UserMessage(content=text, source="student")
        for n, text in enumerate(texts)
    ]


async def ask(*texts: str) -> str:
    return str((await client.create(history(*texts))).content)


async def streamed() -> dict[str, Any]:
    told = [piece async for piece in client.create_stream(history(questions["stream"]))]
    *pieces, last = told
    assert not isinstance(last, str)
    assert "".join(str(piece) for piece in pieces) == last.content
    return {"text": last.content, "tools": [], "pieces": len(pieces)}


async def own_tool() -> str:
    agent = AssistantAgent(
        "academy", model_client=client, tools=[get_weather], reflect_on_tool_use=True
    )
    result = await agent.run(task=questions["own_tool"])
    last = result.messages[-1]
    assert isinstance(last, TextMessage)
    return str(last.content)


async def main() -> None:
    first = await ask(questions["tools"])
    done = {
        "text": {"text": await ask(questions["text"]), "tools": []},
        "tools": {"text": first, "tools": []},
        "second": {
            "text": await ask(questions["tools"], first, questions["second"]),
            "tools": [],
        },
        "stream": await streamed(),
        "own_tool": {"text": await own_tool(), "tools": []},
    }
    print(json.dumps(done))


asyncio.run(main())
