"""Two web processes, one database: whichever is asked or dies, it is one conversation."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError

from tests.acceptance.academy import Place, academy
from tests.acceptance.crash_model import Client, crash_model
from tests.acceptance.webs import Web, events_of, replayed, webs
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")
PLACES = [Place(number) for number in range(1, 7)]
PACE_MS = 120
"""How long a reply takes: a whole run has four."""
TOOLS = ["get_course", "enrol", "send_welcome"]


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


@dataclass(frozen=True)
class Scene:
    """Two processes, and the database that they share."""

    a: Web
    b: Web
    store: Store

    async def count(self, table: str) -> int:
        async with self.store.read() as db:
            row = await db.fetch_one(f"select count(*) as n from {table}")
        return int(row["n"]) if row else 0


@asynccontextmanager
async def scene(logs: Path) -> AsyncIterator[Scene]:
    name = f"webs_{secrets.token_hex(6)}"
    async with academy(URL, name, PLACES) as url, crash_model() as model:
        settings = {
            "DATABASE_URL": url,
            "OPENAI_BASE_URL": model.base_url(Client("webs", pace_ms=PACE_MS)),
        }
        store = await open_store(url)
        try:
            async with webs(2, settings, logs) as (a, b):
                yield Scene(a, b, store)
        finally:
            await store.close()


def tools_of(events: list[dict[str, Any]]) -> list[str]:
    """The tools that were run, by the events that say that their calls are whole."""
    items = [one["item"] for one in events if one["type"] == "response.output_item.done"]
    return [item["name"] for item in items if item["type"] == "mcp_call"]


async def test_a_stream_that_was_dropped_goes_on_at_the_other_process(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        stream = await here.a.sdk.responses.create(
            model="enrolment", input=PLACES[0].wish, background=True, stream=True
        )
        first = await events_of(stream, 4)
        id = first[0]["response"]["id"]
        rest = await replayed(here.b, id, after=first[-1]["sequence_number"])
        later = await replayed(here.a, id)

    assert first + rest == later
    assert [event["sequence_number"] for event in later] == list(range(len(later)))
    assert tools_of(later) == TOOLS
    assert later[-1]["type"] == "response.completed"


async def test_a_conversation_outlives_the_process_that_drives_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        conversation = (await here.a.sdk.conversations.create()).id
        told = []
        for number, place in enumerate(PLACES[:4]):
            web, other = (here.a, here.b) if number % 2 == 0 else (here.b, here.a)
            stream = await web.sdk.responses.create(
                model="enrolment", input=place.wish, conversation=conversation, stream=True
            )
            if number == 2:
                told.append(await _killed_in_the_middle(web, other, stream))
            else:
                told.append(await events_of(stream))
        again = [await replayed(here.b, events[0]["response"]["id"]) for events in told]
        rows = await here.count("enrolments"), await here.count("outbox")

    assert told == again
    assert [events[-1]["type"] for events in told] == ["response.completed"] * 4
    assert [tools_of(events) for events in told] == [TOOLS] * 4
    assert rows == (4, 4)


async def _killed_in_the_middle(web: Web, other: Web, stream: Any) -> list[dict[str, Any]]:
    """The events of a run whose process is killed once its first call is done, and comes back."""
    seen: list[dict[str, Any]] = []
    try:
        async for event in stream:
            seen.append(event.model_dump(mode="json"))
            if event.type == "response.mcp_call.completed" and await web.end(signal.SIGKILL):
                break
    except (APIError, httpx2.HTTPError):
        pass
    async with asyncio.TaskGroup() as tasks:
        back = tasks.create_task(web.start())
        last = seen[-1]["sequence_number"]
        rest = tasks.create_task(replayed(other, seen[0]["response"]["id"], after=last))
    await back
    return seen + rest.result()


async def test_sigterm_in_a_stream_ends_it_cleanly_and_another_process_goes_on(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        stream = await here.a.sdk.responses.create(
            model="enrolment", input=PLACES[0].wish, stream=True
        )
        first = await events_of(stream, 6)
        status = await here.a.end(signal.SIGTERM)
        id = first[0]["response"]["id"]
        whole = await replayed(here.b, id)

    assert status == 0
    assert whole[: len(first)] == first
    assert whole[-1]["type"] == "response.completed"
    assert tools_of(whole) == TOOLS
