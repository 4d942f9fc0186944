"""Fixtures: a real broker with queues of the test's own, and the database of the engine's tests."""

import secrets
from collections.abc import AsyncIterator

import pytest

from tests.engine.conftest import frequent_renewals, stage, template
from tests.servers import RabbitMQ
from tests.services.broker.brokers import TestBroker
from tests.worker.conftest import log

__all__ = ["frequent_renewals", "log", "stage", "template"]


@pytest.fixture(scope="session")
def server() -> RabbitMQ:
    return RabbitMQ()


@pytest.fixture
async def broker(server: RabbitMQ) -> AsyncIterator[TestBroker]:
    broker = TestBroker(server, f"test_{secrets.token_hex(6)}")
    yield broker
    await broker.close()
