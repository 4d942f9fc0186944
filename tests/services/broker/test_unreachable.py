"""A broker that does not respond delays no run and stops no process."""

import asyncio
import subprocess
import sys
from io import StringIO

import pytest

from tests.ports import free_port
from tests.worker.running import events_of
from twelvefold.errors import BrokerUnavailable, SettingsError
from twelvefold.services.broker import open_wake_ups
from twelvefold.services.broker.publisher import MAX_PENDING, Publisher
from twelvefold.services.broker.queues import QueueNames
from twelvefold.services.broker.rabbitmq import RabbitMQWakeUps
from twelvefold.services.broker.subscription import Subscription


@pytest.fixture
def wake_ups() -> RabbitMQWakeUps:
    url = f"amqp://ann:secret@127.0.0.1:{free_port()}/"
    return open_wake_ups(broker_url=url, database="shop")


async def test_an_outage_is_logged_once_and_the_process_can_end(
    wake_ups: RabbitMQWakeUps, log: StringIO
) -> None:
    def outages() -> list[str]:
        events = [one for one in events_of(log) if one["event"] == "broker_unavailable"]
        return [one["purpose"] for one in events]

    wake_ups.run_queued("shop")
    while not outages():
        await asyncio.sleep(0.01)
    for _ in range(2):
        wake_ups.run_queued("shop")
        await asyncio.sleep(0.4)
    await wake_ups.close()

    assert outages() == ["publisher"]
    assert "secret" not in log.getvalue()


async def test_wake_ups_that_wait_are_limited(wake_ups: RabbitMQWakeUps) -> None:
    publisher: Publisher = wake_ups._publisher
    for _ in range(2 * MAX_PENDING):
        wake_ups.run_queued("shop")

    assert publisher._pending.total() == MAX_PENDING
    await wake_ups.close()


async def test_a_worker_has_a_subscription_that_is_not_connected(
    wake_ups: RabbitMQWakeUps,
) -> None:
    async with wake_ups.subscribe(["shop"], mail=True, wake=lambda: None) as subscription:
        subscription.settle(0, used=0, room=8)
        await asyncio.sleep(0.1)

        assert isinstance(subscription, Subscription)
        assert not subscription.is_connected


async def test_the_check_names_the_setting(wake_ups: RabbitMQWakeUps) -> None:
    with pytest.raises(BrokerUnavailable, match=r"BROKER_URL: 127\.0\.0\.1: AMQPConnectionError"):
        await wake_ups.check(["shop"])


def test_a_file_of_certificates_that_cannot_be_read_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE: 'absent\.pem' cannot be read"):
        open_wake_ups(broker_url="amqps://q", database="shop", ca_file="absent.pem")


def test_a_missing_package_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("aio_pika", "twelvefold.services.broker.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aio_pika", None)

    with pytest.raises(SettingsError, match=r"run `pip install twelvefold\[rabbitmq\]`"):
        open_wake_ups(broker_url="amqp://q", database="shop")


def test_the_client_is_not_imported_without_a_broker() -> None:
    program = "import sys, twelvefold.boot; print([one for one in sys.modules if 'aio' in one])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout

    assert "aio_pika" not in loaded
    assert "aiormq" not in loaded


def test_a_queue_belongs_to_one_database_and_workflow() -> None:
    names = QueueNames("shop")

    assert names.runs("refunds") == "twelvefold.shop.runs.refunds"
    assert names.mail == "twelvefold.shop.mail"
    assert names.dead_letters == "twelvefold.shop.dead"
