"""The database password in a file: it is replaced while the store is in use."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncmy
import pytest

from tests.secret_files import write
from tests.services.store.builders import kinds, on_server, queued
from twelvefold import secret_file
from twelvefold.core.ports import Store
from twelvefold.errors import SettingsError, StoreFailed
from twelvefold.secret_file import SecretFile
from twelvefold.services import store as stores
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate
from twelvefold.services.store.mysql import login
from twelvefold.services.store.mysql.login import RENEWAL_S

pytestmark = pytest.mark.mysql


@dataclass
class Account:
    """An account of the server whose password is in a file."""

    server: str
    name: str
    file: Path

    @property
    def url(self) -> str:
        parts = urlsplit(self.server)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{self.name}@{host}").geturl()

    @property
    def urls(self) -> str:
        """The URL with the server twice, as for a cluster."""
        host = urlsplit(self.url).netloc.rpartition("@")[2]
        return self.url.replace(f"@{host}", f"@{host},{host}")

    @property
    def password(self) -> SecretFile:
        return SecretFile("DATABASE_PASSWORD_FILE", str(self.file))

    async def change(self, password: str) -> None:
        """Change the password at the server alone."""
        statement = f"ALTER USER '{self.name}'@'%' IDENTIFIED BY '{password}'"
        await on_server(self.server, statement)


@pytest.fixture
def account(mariadb_url: str, tmp_path: Path) -> Iterator[Account]:
    name, database = f"t_{secrets.token_hex(4)}", urlsplit(mariadb_url).path[1:]
    asyncio.run(
        on_server(
            mariadb_url,
            f"CREATE USER '{name}'@'%' IDENTIFIED BY 'first-secret'",
            f"GRANT ALL ON {database}.* TO '{name}'@'%'",
        )
    )
    file = tmp_path / "password"
    write(file, "first-secret")
    yield Account(mariadb_url, name, file)
    asyncio.run(on_server(mariadb_url, f"DROP USER '{name}'@'%'"))


@pytest.fixture
async def store(account: Account) -> AsyncIterator[Store]:
    store = await open_store(account.url, pool_size=5, password=account.password)
    yield store
    await store.close()


@pytest.fixture
def on_refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[bool]]:
    """Call a function at each refused password, before its file is read again."""

    def install(act: Callable[[], object]) -> list[bool]:
        refusals: list[bool] = []
        is_refused = login.is_refused

        def noticed(error: Exception) -> bool:
            if refused := is_refused(error):
                refusals.append(refused)
                act()
            return refused

        monkeypatch.setattr(login, "is_refused", noticed)
        return refusals

    return install


async def use_at_once(store: Store, tools: int) -> list[BaseException | None]:
    """Use as many connections of tools at the same time."""
    together = asyncio.Barrier(tools)

    async def use() -> None:
        async with store.write() as tx:
            await together.wait()
            await tx.fetch_all("SELECT 1")

    return await asyncio.gather(*(use() for _ in range(tools)), return_exceptions=True)


async def test_open_connections_continue_and_new_ones_have_the_new_password(
    account: Account, store: Store
) -> None:
    async with store.write() as tx:
        await account.change("second-secret")
        write(account.file, "second-secret")

        # The open connection continues; these are new.
        assert await use_at_once(store, 3) == [None] * 3
        assert await tx.fetch_all("SELECT 1 AS one") == [{"one": 1}]
    assert await queued(store)


async def test_a_password_with_any_characters_is_the_one_in_the_file(
    account: Account, store: Store
) -> None:
    await account.change("p\u00e4 ss/@:%23\u2713")
    write(account.file, "p\u00e4 ss/@:%23\u2713")

    assert await queued(store)


async def test_refused_connections_are_made_once_more_with_the_new_password(
    account: Account, store: Store, on_refusal: Callable[..., list[bool]]
) -> None:
    await account.change("second-secret")
    refusals = on_refusal(lambda: write(account.file, "second-secret"))

    assert await use_at_once(store, 5) == [None] * 5
    assert 1 <= len(refusals) <= 5


async def test_a_password_that_is_still_in_the_file_is_refused(
    account: Account, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await account.change("second-secret")

    with pytest.raises(StoreFailed, match="Access denied") as refused:
        await queued(store)

    assert refused.value.recovery_s == 0
    assert "first-secret" not in f"{refused.value}{refused.value.log_text}{caplog.text}"


async def test_a_password_that_has_worked_may_be_replaced_later_at_the_server(
    account: Account, store: Store
) -> None:
    async with store.write():
        await account.change("second-secret")

        faults = await asyncio.gather(*(queued(store) for _ in range(2)), return_exceptions=True)

    assert kinds(faults) == [StoreFailed] * 2
    assert [fault.recovery_s for fault in faults if isinstance(fault, StoreFailed)] == (
        [RENEWAL_S] * 2
    )
    write(account.file, "second-secret")
    assert await queued(store)


async def test_many_refusals_read_the_file_once(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = account.password
    reads: list[str] = []
    read = secret_file._read

    def counted(path: str) -> tuple[object, str]:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(secret_file, "_read", counted)
    store = await open_store(account.url, pool_size=5, password=password)
    await account.change("second-secret")
    reads.clear()

    faults = await asyncio.gather(*(queued(store) for _ in range(4)), return_exceptions=True)
    await store.close()

    assert kinds(faults) == [StoreFailed] * 4
    # Each round of connections that began after the last read reads it once more.
    assert 1 <= len(reads) <= 4


async def test_of_several_hosts_each_is_asked_with_the_new_password(
    account: Account, on_refusal: Callable[..., list[bool]]
) -> None:
    await account.change("second-secret")
    refusals = on_refusal(lambda: write(account.file, "second-secret"))
    store = await open_store(account.urls, password=account.password)

    assert await queued(store)
    await store.close()
    assert refusals == [True]
    reports = await stores.report_hosts(account.urls, account.password)
    assert [one.obstacle for one in reports] == ["", ""]


async def test_a_migration_connects_with_the_new_password(
    account: Account, on_refusal: Callable[..., list[bool]]
) -> None:
    await account.change("second-secret")
    refusals = on_refusal(lambda: write(account.file, "second-secret"))

    assert await migrate(account.url, password=account.password) == []
    assert refusals == [True]


async def test_a_connection_that_fails_for_another_reason_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    file = SecretFile("DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    arguments = login.ArgumentsWithFile({"host": "h", "password": b""}, file)
    given: list[dict[str, Any]] = []

    async def unreachable(**arguments: Any) -> Any:
        given.append(arguments)
        raise asyncmy.errors.OperationalError(2003, "no route")

    with pytest.raises(asyncmy.errors.OperationalError):
        await login.connect(arguments, unreachable, connect_timeout=1)

    assert given == [{"host": "h", "password": b"secret", "connect_timeout": 1}]
    assert len(arguments) == 2


async def test_without_a_file_a_refused_password_is_tried_once() -> None:
    tried: list[float] = []

    async def refuse(**_: Any) -> Any:
        tried.append(time.monotonic())
        raise asyncmy.errors.OperationalError(1045, "Access denied")

    with pytest.raises(asyncmy.errors.OperationalError):
        await login.connect({"host": "h"}, refuse)

    assert len(tried) == 1


async def test_a_file_without_a_password_is_an_error_when_the_store_is_opened(
    account: Account,
) -> None:
    write(account.file, "")

    with pytest.raises(SettingsError, match=r"^DATABASE_PASSWORD_FILE: .*: it is empty$"):
        await open_store(account.url, password=account.password)
