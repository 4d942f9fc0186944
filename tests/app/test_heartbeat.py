"""A process records itself while it runs, and outlives a database that is down."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.app.shop import shop, shop_settings
from twelvefold.app.heartbeat import heartbeats
from twelvefold.app.opening import open_checked_services
from twelvefold.app.service import open_service
from twelvefold.core import Process
from twelvefold.engine import Services
from twelvefold.errors import StoreUnavailable

BEAT_S = 0.01


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    settings, workflows = shop_settings(tmp_path), {"shop": shop}
    async with open_checked_services(settings, workflows=workflows, with_model=False) as services:
        yield services


async def recorded(services: Services) -> Process:
    """Wait for the only process, and return it."""
    while not (found := await services.store.processes()):
        await asyncio.sleep(BEAT_S)
    (process,) = found
    return process


async def test_a_process_is_recorded_until_it_ends(services: Services) -> None:
    runs = 1
    async with heartbeats(services, "worker", lambda: runs, interval_s=BEAT_S):
        first = await recorded(services)
        assert (first.kind, first.runs, first.release) == ("worker", 1, services.release)
        runs = 3
        while (await recorded(services)).runs != 3:
            await asyncio.sleep(BEAT_S)

    assert await services.store.processes() == []


async def test_heartbeats_continue_after_an_outage(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [StoreUnavailable("down"), RuntimeError("a bug")]
    record = services.store.record_heartbeat

    async def failing(process: Process) -> None:
        if faults:
            raise faults.pop()
        await record(process)

    monkeypatch.setattr(services.store, "record_heartbeat", failing)
    async with heartbeats(services, "web", lambda: 0, interval_s=BEAT_S):
        await recorded(services)

    assert faults == []


async def test_a_database_that_is_down_does_not_keep_a_process_from_ending(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(services.store, "record_heartbeat", down)
    monkeypatch.setattr(services.store, "remove_process", down)

    async with heartbeats(services, "web", lambda: 0, interval_s=BEAT_S):
        await asyncio.sleep(0)


@pytest.mark.parametrize("drives", ["foreground", "background"])
async def test_the_service_records_one_web_process(
    services: Services, tmp_path: Path, drives: Literal["foreground", "background"]
) -> None:
    settings = replace(shop_settings(tmp_path), web_drives=drives)
    stop = asyncio.Event()

    async with open_service(services, settings, stop) as web:
        web.serving.set()
        assert (await recorded(services)).kind == "web"
        stop.set()

    assert await services.store.processes() == []
