"""A bare loop on aiohttp and msgspec without durability; its tools write to a list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import aiohttp
import msgspec

from bench import academy
from bench.asking import course, wish
from bench.contender import Contender, Options, main

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer bench"}


class BareLoop(Contender):
    """A loop whose tools run in transactions that `begin` opens."""

    def __init__(
        self, session: aiohttp.ClientSession, options: Options, begin: academy.Begin
    ) -> None:
        self._session = session
        self._url = f"{options.base_url}/responses"
        self._options = options
        self._begin = begin
        self._fixed = {
            "model": options.model,
            "stream": options.streamed,
            "store": False,
            "instructions": options.asking.instructions,
            "tools": options.asking.tools,
        }
        self._conversation: list[dict[str, Any]] = []

    async def run(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-{number}", number, [])

    async def turn(self, number: int) -> None:
        await self._drive(f"{self._options.tag}-turns", number, self._conversation)

    async def _drive(self, student: str, number: int, items: list[dict[str, Any]]) -> None:
        items.append({"type": "message", "role": "user", "content": wish(course(number))})
        while calls := await self._reply(items):
            for call in calls:
                output = await academy.call(self._begin, call["name"], call["arguments"], student)
                answer = {"type": "function_call_output", "call_id": call["call_id"]}
                items.append({**answer, "output": output})

    async def _reply(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Request a reply, add it to the items, and return the calls in it."""
        body = msgspec.json.encode({**self._fixed, "input": items})
        async with self._session.post(self._url, data=body, headers=HEADERS) as response:
            assert response.status == 200, await response.text()
            read = _streamed if self._options.streamed else _whole
            output = await read(response)
        items += output
        return [item for item in output if item["type"] == "function_call"]


async def _whole(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = msgspec.json.decode(await response.read())["output"]
    return output


async def _streamed(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """Decode each event when it arrives, as a loop does that shows the text."""
    output: list[dict[str, Any]] = []
    async for line in response.content:
        if line.startswith(b"data: "):
            event = msgspec.json.decode(line[6:])
            if event["type"] == "response.output_item.done":
                output.append(event["item"])
    return output


def open_session() -> aiohttp.ClientSession:
    """Return a client without a limit of connections; call it on the event loop."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@asynccontextmanager
async def open_bare_loop(options: Options) -> AsyncIterator[Contender]:
    rows = nullcontext(academy.InMemory())
    async with open_session() as session:
        yield BareLoop(session, options, lambda: rows)


if __name__ == "__main__":
    main(open_bare_loop)
