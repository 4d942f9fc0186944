"""The node that takes writes is killed while turns run over HTTP: each turn ends, and exactly once.

`-s` prints how long the turns took.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI

from tests.acceptance.academy import Place, Verdict, academy, judge
from tests.acceptance.crash_model import Client, CrashModel, crash_model, journal_of
from tests.acceptance.webs import Web, webs
from tests.servers import freeze_node, galera, group, join_node, kill_node
from twelvefold.core.ports import Store
from twelvefold.engine.keys import create_key
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(300)]
PLACES = [Place(number) for number in range(1, 8)]
RUNNING, LATER = PLACES[:5], PLACES[5:]
"""Students whose turns run when the node is killed, and those of the turns that start later."""
PACE_MS = 1000
"""How long a reply of the model takes: a whole run has four."""
TURN_S = 120.0
OUTAGE_S = 2.0
"""How long after the kill the later turns begin."""
WHOLE_RUN = journal_of("in_turn")


@dataclass(frozen=True)
class Scene:
    """A web process on a cluster, and the cluster's store."""

    web: Web
    store: Store
    model: CrashModel
    client: Client
    tokens: Mapping[Place, str]

    async def turn(self, place: Place) -> float:
        """Ask for an enrolment, every second one as a stream; return how long the turn took."""
        began_at = time.monotonic()
        async with AsyncOpenAI(
            base_url=self.web.url, api_key=self.tokens[place], max_retries=0, timeout=TURN_S
        ) as sdk:
            await (ask if place.number % 2 else ask_streaming)(sdk, place)
        return time.monotonic() - began_at


async def ask(sdk: AsyncOpenAI, place: Place) -> None:
    response = await sdk.responses.create(model="enrolment", input=place.wish)
    assert response.status == "completed", response.error


async def ask_streaming(sdk: AsyncOpenAI, place: Place) -> None:
    stream = await sdk.responses.create(model="enrolment", input=place.wish, stream=True)
    numbers, last = [], ""
    async for event in stream:
        numbers.append(event.sequence_number)
        last = event.type
    assert last == "response.completed"
    assert numbers == list(range(len(numbers)))


def joined(urls: Sequence[str]) -> str:
    """One DATABASE_URL with the hosts of all."""
    hosts = ",".join(sorted(urlsplit(url).netloc.rpartition("@")[2] for url in urls))
    parts = urlsplit(urls[0])
    login = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{login}@{hosts}").geturl()


def number_of(url: str, urls: Sequence[str]) -> int:
    """Return the number of a node; nodes are numbered in the order of their ports."""
    return sorted(urlsplit(one).port or 0 for one in urls).index(urlsplit(url).port or 0) + 1


@asynccontextmanager
async def scene(url: str, logs: Path) -> AsyncIterator[Scene]:
    name, client = f"failover_{secrets.token_hex(6)}", Client("failover", pace_ms=PACE_MS)
    async with academy(url, name, PLACES) as database, crash_model() as model:
        settings = {
            "DATABASE_URL": database,
            "OPENAI_BASE_URL": model.base_url(client),
            "LEASE_S": "30",
        }
        store = await open_store(database)
        try:
            tokens = {place: await token_of(store, place) for place in PLACES}
            async with webs(1, settings, logs) as (web,):
                yield Scene(web, store, model, client, tokens)
        finally:
            await store.close()


async def token_of(store: Store, place: Place) -> str:
    token, _ = await create_key(store, place.student, place.student, ["runs"])
    return token


async def verdicts(url: str, fail: Callable[[], None], logs: Path) -> list[Verdict]:
    """Let a node fail while turns run, and check their effects."""
    async with scene(url, logs) as here:
        async with asyncio.TaskGroup() as turns:
            first = [turns.create_task(here.turn(place)) for place in RUNNING]
            await here.model.wait_for("asked", here.client)
            await asyncio.to_thread(fail)
            await asyncio.sleep(OUTAGE_S)
            later = [turns.create_task(here.turn(place)) for place in LATER]
        took = [f"{task.result():.1f}" for task in (*first, *later)]
        print(f"seconds of the turns that ran: {took[: len(first)]}")
        print(f"seconds of the later turns: {took[len(first) :]}")
        return [await judge(here.store, place, WHOLE_RUN) for place in PLACES]


async def test_turns_outlive_the_primary_of_a_group(tmp_path: Path) -> None:
    urls = group()
    primary = number_of(urls[0], urls)
    try:
        found = await verdicts(joined(urls), partial(kill_node, "group", primary), tmp_path)
    finally:
        join_node("group", primary)

    assert found == [Verdict()] * len(PLACES)


async def test_turns_outlive_a_primary_that_hangs(tmp_path: Path) -> None:
    urls = group()
    primary = number_of(urls[0], urls)
    try:
        found = await verdicts(joined(urls), partial(freeze_node, "group", primary), tmp_path)
    finally:
        kill_node("group", primary)
        join_node("group", primary)

    assert found == [Verdict()] * len(PLACES)


async def test_turns_outlive_the_node_of_galera_that_they_use(tmp_path: Path) -> None:
    try:
        found = await verdicts(joined(galera()), partial(kill_node, "galera", 1), tmp_path)
    finally:
        join_node("galera", 1)

    assert found == [Verdict()] * len(PLACES)
