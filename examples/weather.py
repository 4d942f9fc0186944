"""Forecasts of an HTTP service, with one HTTP client for all runs of a process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout

from twelvefold import Resource, ToolRefused, Workflow, tool


@asynccontextmanager
async def open_resources() -> AsyncIterator[ClientSession]:
    """Open what the tools share: once in each process, before the first call that needs it."""
    url = os.environ.get("WEATHER_URL", "https://weather.example")
    async with ClientSession(url, timeout=ClientTimeout(total=10)) as client:
        yield client


@tool(effect="pure")
async def forecast(client: Resource[ClientSession], city: str) -> str:
    """Return tomorrow's forecast for a city."""
    async with client.get("/forecast", params={"city": city}) as response:
        if response.status == 404:
            raise ToolRefused(f"there is no forecast for {city}; ask for a larger city nearby")
        response.raise_for_status()
        return await response.text()


workflow = Workflow(
    name="weather",
    instructions="You answer questions about the weather. Never answer from memory.",
    tools=(forecast,),
    resources=open_resources,
)
