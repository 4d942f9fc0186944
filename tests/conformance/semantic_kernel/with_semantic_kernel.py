"""Semantic Kernel, by one API or the other; its Responses agent sends every result again."""

import asyncio
import json
import sys
from typing import Annotated, Any

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent, OpenAIResponsesAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function

api, questions = sys.argv[1], json.loads(sys.argv[2])


class Weather:
    @kernel_function(description="The weather in a city.")  # type: ignore[untyped-decorator]
    def get_weather(self, city: Annotated[str, "Which city."]) -> str:
        return f"18 degrees in {city}"


def agent(*plugins: Any) -> Any:
    if api == "chat":
        service = OpenAIChatCompletion(ai_model_id="enrolment")
        return ChatCompletionAgent(name="academy", service=service, plugins=list(plugins))
    return OpenAIResponsesAgent(
        name="academy", ai_model_id="enrolment", client=AsyncOpenAI(), plugins=list(plugins)
    )


async def ask(one: Any, question: str, thread: Any = None) -> tuple[dict[str, Any], Any]:
    answer = await one.get_response(messages=question, thread=thread)
    return {"text": str(answer.message), "tools": []}, answer.thread


async def streamed() -> dict[str, Any]:
    pieces = [
        str(piece.message)
        async for piece in agent().invoke_stream(messages=questions["stream"])
        if str(piece.message)
    ]
    return {"text": "".join(pieces), "tools": [], "pieces": len(pieces)}


async def own_tool() -> dict[str, Any]:
    """Two questions of one thread: with the second come the results of both."""
    weather = agent(Weather())
    _, thread = await ask(weather, questions["own_tool"])
    return (await ask(weather, questions["own_tool"], thread))[0]


async def main() -> None:
    academy = agent()
    first, thread = await ask(academy, questions["tools"])
    done = {
        "text": (await ask(academy, questions["text"]))[0],
        "tools": first,
        "second": (await ask(academy, questions["second"], thread))[0],
        "stream": await streamed(),
        "own_tool": await own_tool(),
    }
    print(json.dumps(done))


asyncio.run(main())
