"""A cluster with several writers: processes on two nodes hold a run one at a time."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.builders import asked, said
from tests.servers import galera
from tests.services.store.builders import LONG_S, append, journal, made, on_server, queued
from twelvefold.core.ports import Store
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.slow]


@pytest.fixture
async def nodes() -> AsyncIterator[list[Store]]:
    urls = galera()
    name = f"store_{secrets.token_hex(6)}"
    await on_server(urls[0], f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    urls = [urlsplit(url)._replace(path=f"/{name}").geturl() for url in urls]
    await made(urls[0])
    stores = [await open_store(url) for url in urls]
    yield stores
    for store in stores:
        await store.close()
    await on_server(urls[0], f"DROP DATABASE {name}")


async def test_of_two_nodes_that_claim_a_run_one_wins(nodes: list[Store]) -> None:
    for _ in range(20):
        run = await queued(nodes[0])
        await nodes[1].run(run)

        claims = await asyncio.gather(
            *(node.claim(run, LONG_S) for node in nodes[:2]), return_exceptions=True
        )

        won = [claim[0] for claim in claims if isinstance(claim, tuple)]
        assert len(won) == 1
        assert all(claim is None or isinstance(claim, tuple | StoreUnavailable) for claim in claims)
        await append(nodes[1], won[0], 1, said())
        assert await journal(nodes[0], run.thread) == [asked(), said()]
