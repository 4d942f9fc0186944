"""TLS to a MariaDB with a private certificate, with the options of its own client."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.certificates import Certificates
from tests.servers.mariadb import PrivateMariaDB
from tests.services.store.builders import on_server
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store import open_store

PASSWORD = "p%C3%A4%23ss%25%2F%3F%40%3A"
ACCOUNTS = {"plain": "", "needs_tls": "REQUIRE SSL", "needs_certificate": "REQUIRE X509"}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[PrivateMariaDB]:
    options = [f"--ssl-{name}={certificates.path(file)}" for name, file in FILES.items()]
    with PrivateMariaDB(tmp_path_factory.mktemp("tls"), options=options) as server:
        for account, requirement in ACCOUNTS.items():
            user = f"'{account}'@'%'"
            create = f"CREATE USER {user} IDENTIFIED BY 'pä#ss%/?@:' {requirement}"
            asyncio.run(on_server(server.url, create))
            asyncio.run(on_server(server.url, f"GRANT ALL ON *.* TO {user}"))
        yield server


FILES = {"ca": "ca", "cert": "server", "key": "server-key"}


async def cipher(server: PrivateMariaDB, account: str, query: str) -> str:
    """The cipher of a connection; "" without TLS."""
    parts = urlsplit(server.url)
    url = parts._replace(netloc=f"{account}:{PASSWORD}@127.0.0.1:{server.port}", query=query)
    store = await open_store(url.geturl(), pool_size=1)
    try:
        async with store.read() as db:
            row = await db.fetch_one("SHOW STATUS LIKE 'Ssl_cipher'")
    finally:
        await store.close()
    assert row is not None
    return str(row["Value"])


@pytest.mark.parametrize(
    ("account", "query"),
    [
        ("plain", "ssl-mode=REQUIRED"),
        ("needs_tls", "ssl-mode=REQUIRED"),
        ("needs_tls", "ssl-mode=VERIFY_CA&ssl-ca={ca}"),
        ("needs_certificate", "ssl-mode=REQUIRED&ssl-cert={cert}&ssl-key={key}"),
        ("needs_certificate", "ssl-mode=VERIFY_CA&ssl-ca={ca}&ssl-cert={cert}&ssl-key={key}"),
    ],
)
async def test_an_account_that_requires_tls_can_connect(
    server: PrivateMariaDB, certificates: Certificates, account: str, query: str
) -> None:
    assert await cipher(server, account, query.format(**certificates.paths()))


async def test_without_a_mode_the_connection_has_no_tls(server: PrivateMariaDB) -> None:
    assert await cipher(server, "plain", "") == ""


@pytest.mark.parametrize(
    ("account", "query", "why"),
    [
        ("needs_tls", "", "ssl-mode=REQUIRED"),
        ("needs_certificate", "ssl-mode=REQUIRED", "Access denied"),
        ("plain", "ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}", "ssl-mode=VERIFY_CA"),
        ("plain", "ssl-mode=VERIFY_CA&ssl-ca={cert}", "certificate"),
        ("plain", "ssl-mode=VERIFY_IDENTITY", "certificate"),
    ],
)
async def test_a_refused_connection_names_the_setting_that_helps(
    server: PrivateMariaDB, certificates: Certificates, account: str, query: str, why: str
) -> None:
    with pytest.raises(StoreUnavailable, match=why):
        await cipher(server, account, query.format(**certificates.paths()))
