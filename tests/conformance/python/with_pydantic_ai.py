"""Pydantic AI; it sends all earlier items again, those of the server's tools too."""

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, NativeToolCallPart

questions = json.loads(sys.argv[1])
agent = Agent("openai-responses:enrolment")


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


helped = Agent("openai-responses:enrolment", tools=[get_weather])


def told(text: str, messages: Iterable[ModelMessage]) -> dict[str, Any]:
    parts = [part for message in messages for part in message.parts]
    calls = [part.args_as_dict() for part in parts if isinstance(part, NativeToolCallPart)]
    return {"text": text, "tools": [call["tool_name"] for call in calls]}


async def streamed() -> dict[str, Any]:
    async with agent.run_stream(questions["stream"]) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
        return {**told("".join(pieces), result.new_messages()), "pieces": len(pieces)}


async def main() -> None:
    text = await agent.run(questions["text"])
    first = await agent.run(questions["tools"])
    second = await agent.run(questions["second"], message_history=first.all_messages())
    own = await helped.run(questions["own_tool"])
    done = {
        "text": told(text.output, text.new_messages()),
        "tools": told(first.output, first.new_messages()),
        "second": told(second.output, second.new_messages()),
        "stream": await streamed(),
        "own_tool": told(own.output, own.new_messages()),
    }
    print(json.dumps(done))


asyncio.run(main())
