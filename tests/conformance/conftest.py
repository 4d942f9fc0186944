"""One service for all clients."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.acceptance.academy import Place
from tests.conformance.service import Service, service

PLACES = [Place(number) for number in range(101, 121)]
"""Each client takes one, and no two the same."""


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="service")
async def _service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: `make conformance` starts one")
    async with service(url, PLACES, tmp_path_factory.mktemp("service")) as serving:
        yield serving
