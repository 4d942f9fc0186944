"""A loop on the `openai` SDK without durability, over either API; its tools write to a list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from openai import AsyncOpenAI

from bench import academy
from bench.asking import course, wish
from bench.contender import Contender, Options, main

TIMEOUT_S = 600.0
"""The default of five seconds to connect is too short on a busy machine."""


class ResponsesLoop(Contender):
    """A loop over the Responses API."""

    def __init__(self, client: AsyncOpenAI, options: Options) -> None:
        self._client = client
        self._options = options
        self._rows = nullcontext(academy.InMemory())
        self._tools: Any = options.asking.tools
        self._conversation: list[Any] = []

    async def run(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-{number}", number, [])

    async def turn(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-turns", number, self._conversation)

    async def _drive(self, student: str, number: int, items: list[Any]) -> None:
        items.append({"type": "message", "role": "user", "content": wish(course(number))})
        while True:
            response = await self._client.responses.create(
                model=self._options.model,
                instructions=self._options.asking.instructions,
                tools=self._tools,
                input=items,
                store=False,
            )
            items += response.output
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return
            for call in calls:
                output = await self._call(call.name, call.arguments, student)
                answer = {"type": "function_call_output", "call_id": call.call_id}
                items.append({**answer, "output": output})

    async def _call(self, name: str, arguments: str, student: str) -> str:
        return await academy.call(lambda: self._rows, name, arguments, student)


class ChatLoop(Contender):
    """A loop over Chat Completions."""

    def __init__(self, client: AsyncOpenAI, options: Options) -> None:
        self._client = client
        self._options = options
        self._rows = nullcontext(academy.InMemory())
        self._tools: Any = [_chat_tool(tool) for tool in options.asking.tools]
        self._conversation: list[Any] = self._first_messages()

    async def run(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-{number}", number, self._first_messages())

    async def turn(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-turns", number, self._conversation)

    def _first_messages(self) -> list[Any]:
        return [{"role": "system", "content": self._options.asking.instructions}]

    async def _drive(self, student: str, number: int, messages: list[Any]) -> None:
        messages.append({"role": "user", "content": wish(course(number))})
        while True:
            completion = await self._client.chat.completions.create(
                model=self._options.model, messages=messages, tools=self._tools
            )
            message = completion.choices[0].message
            messages.append(message)
            if not message.tool_calls:
                return
            for call in message.tool_calls:
                assert call.type == "function"
                function = call.function
                output = await self._call(function.name, function.arguments, student)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": output})

    async def _call(self, name: str, arguments: str, student: str) -> str:
        return await academy.call(lambda: self._rows, name, arguments, student)


def _chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {key: value for key, value in tool.items() if key != "type"},
    }


@asynccontextmanager
async def open_sdk_loop(options: Options) -> AsyncIterator[Contender]:
    async with AsyncOpenAI(
        api_key="bench", base_url=options.base_url, max_retries=0, timeout=TIMEOUT_S
    ) as client:
        yield (ChatLoop if options.chat else ResponsesLoop)(client, options)


if __name__ == "__main__":
    main(open_sdk_loop)
