"""The Agents SDK; it sends the items of the earlier turns again, out of a session of its own."""

import asyncio
import json
import sys
from typing import Any

from agents import Agent, Runner, SQLiteSession, function_tool, set_tracing_disabled
from openai.types.responses import ResponseTextDeltaEvent


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


set_tracing_disabled(True)
questions = json.loads(sys.argv[1])
agent = Agent(name="student", model="enrolment")


def told(result: Any) -> dict[str, Any]:
    items = [item for response in result.raw_responses for item in response.output]
    tools = [item.name for item in items if item.type == "mcp_call"]
    return {"text": result.final_output, "tools": tools}


async def streamed() -> dict[str, Any]:
    result = Runner.run_streamed(agent, questions["stream"])
    pieces = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    assert "".join(pieces) == result.final_output
    return {**told(result), "pieces": len(pieces)}


async def main() -> None:
    session = SQLiteSession("student")
    helped = Agent(name="traveller", model="enrolment", tools=[function_tool(get_weather)])
    done = {
        "text": told(await Runner.run(agent, questions["text"])),
        "tools": told(await Runner.run(agent, questions["tools"], session=session)),
        "second": told(await Runner.run(agent, questions["second"], session=session)),
        "stream": await streamed(),
        "own_tool": told(await Runner.run(helped, questions["own_tool"])),
    }
    print(json.dumps(done))


asyncio.run(main())
