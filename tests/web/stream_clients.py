"""Clients that read a stream event by event, and leave when a test wants."""

from contextlib import suppress
from typing import Any

import httpx2

from tests.web.serving import Json, Served, event_of

LONG = "a long story that is told piece by piece, so that there is something to break off"


def types(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def text_of(events: list[Json]) -> str:
    return "".join(one["delta"] for one in events if one["type"].endswith("output_text.delta"))


class Reader:
    """Reads a stream event by event."""

    def __init__(self, http: httpx2.AsyncClient, method: str, url: str, **how: Any) -> None:
        self._opening = http.stream(method, url, **how)

    async def __aenter__(self) -> "Reader":
        answer = await self._opening.__aenter__()
        assert answer.status_code == 200
        self._pieces = answer.aiter_text()
        self._text = ""
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._opening.__aexit__(*error)

    async def block(self) -> str:
        while "\n\n" not in self._text:
            self._text += await anext(self._pieces)
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def events(self, count: int) -> list[Json]:
        events: list[Json] = []
        while len(events) < count:
            if event := event_of(await self.block()):
                events.append(event)
        return events

    async def rest(self) -> list[Json]:
        """The events up to the end of the response."""
        events: list[Json] = []
        while (block := await self.block()) != "data: [DONE]":
            if event := event_of(block):
                events.append(event)
        return events

    async def left(self) -> list[str]:
        """The blocks up to the end of the stream, however it ends."""
        blocks: list[str] = []
        with suppress(StopAsyncIteration):
            while True:
                blocks.append(await self.block())
        return blocks


def reading(api: Served, input: str, **more: Any) -> Reader:
    """A client of a streamed turn of the shop."""
    body = {"model": "shop", "input": input, "stream": True, **more}
    return Reader(api.http, "POST", "/v1/responses", json=body)


def followed(api: Served, id: str) -> Reader:
    """A client of the stream of a response that exists."""
    return Reader(api.http, "GET", f"/v1/responses/{id}", params={"stream": "true"})
