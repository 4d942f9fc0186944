"""The password of the broker in a file: every connection has the current one."""

from pathlib import Path
from typing import Any

import aio_pika
import pytest

from tests.secret_files import write
from twelvefold.errors import BrokerUnavailable, SettingsError
from twelvefold.secret_file import SecretFile
from twelvefold.services.broker import open_wake_ups


async def test_a_connection_has_the_password_that_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []

    async def connect(url: str, **_: Any) -> Any:
        urls.append(url)
        raise ConnectionRefusedError

    monkeypatch.setattr(aio_pika, "connect", connect)
    file = tmp_path / "password"
    write(file, "old/@")
    secret = SecretFile("BROKER_PASSWORD_FILE", str(file))
    broker = open_wake_ups(
        broker_url="amqp://app@127.0.0.1:9/vhost", database="shop", password=secret
    )

    for password in ("old/@", "new"):
        write(file, password)
        with pytest.raises(BrokerUnavailable) as refused:
            await broker.check(["desk"])
        assert "app" not in str(refused.value)

    assert urls == [
        "amqp://app:old%2F%40@127.0.0.1:9/vhost",
        "amqp://app:new@127.0.0.1:9/vhost",
    ]


def test_a_file_without_a_password_is_an_error_at_the_start(tmp_path: Path) -> None:
    secret = SecretFile("BROKER_PASSWORD_FILE", str(tmp_path / "missing"))

    with pytest.raises(SettingsError, match=r"^BROKER_PASSWORD_FILE: .* cannot be read"):
        open_wake_ups(broker_url="amqp://app@h", database="shop", password=secret)
