"""Liveness, readiness and version."""

import asyncio

from tests.web.doubles import Clock, Keys, asking, web_on
from twelvefold import __version__
from twelvefold.boot import SCHEMA
from twelvefold.core.ports import Schema
from twelvefold.web.app import create_app
from twelvefold.web.probes import CACHE_TTL_S, Readiness, ServiceState


async def test_liveness_does_not_read_the_database() -> None:
    keys = Keys()
    async with web_on(keys) as web, asking(create_app(web)) as client:
        keys.is_unavailable = True

        answer = await client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_database_with_this_releases_schema_is_ready() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "database": "answers",
        "schema": SCHEMA,
        "schema_needed": SCHEMA,
    }


async def test_another_schema_is_not_ready() -> None:
    async with web_on(Keys(at=Schema("0000", "0000"))) as web, asking(create_app(web)) as client:
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.json()["schema"] == "0000"


async def test_a_newer_schema_that_serves_this_release_is_ready() -> None:
    newer = Keys(at=Schema("9999", SCHEMA))
    async with web_on(newer) as web, asking(create_app(web)) as client:
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["schema"]) == (200, "9999")


async def test_an_unavailable_database_is_not_ready() -> None:
    keys = Keys()
    async with web_on(keys) as web, asking(create_app(web)) as client:
        keys.is_unavailable = True
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["database"]) == (503, "does not answer")


async def test_a_draining_process_is_not_ready() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        web.draining.set()
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {"status": "stopping"})


async def test_the_version_names_the_release_and_the_schema() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        answer = await client.get("/version")

    assert answer.json() == {
        "name": "twelvefold",
        "version": __version__,
        "commit": "",
        "release": "release-7",
        "schema": SCHEMA,
    }


async def test_concurrent_checks_read_the_database_once() -> None:
    keys, clock = Keys(), Clock()
    readiness = Readiness(keys.store, SCHEMA, clock)

    await asyncio.gather(*(readiness.check() for _ in range(20)))
    assert keys.queries == 1
    clock.now += CACHE_TTL_S
    await readiness.check()
    assert keys.queries == 2


async def test_a_check_of_a_database_that_never_answers_times_out() -> None:
    class Hangs(Keys):
        async def schema(self) -> Schema | None:
            await asyncio.sleep(60)
            return None

    readiness = Readiness(Hangs().store, SCHEMA, timeout_s=0.01)

    assert await readiness.check() == ServiceState(answers=False, schema=None, ready=False)
