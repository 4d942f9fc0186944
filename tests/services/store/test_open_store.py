"""The store of a URL, and invalid URLs."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from twelvefold.errors import SettingsError
from twelvefold.services.store import open_store, sqlite_path
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments
from twelvefold.services.store.sqlite.store import SQLiteStore


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("mysql://u:p@host/db", MySQLStore),
        ("mysql+asyncmy://u:p@host/db", MySQLStore),
        ("mariadb://u:p@host/db", MySQLStore),
        ("sqlite:///file.db", SQLiteStore),
        ("sqlite://", SQLiteStore),
    ],
)
async def test_the_scheme_chooses_the_store(url: str, kind: type) -> None:
    store = await open_store(url)

    assert isinstance(store, kind)
    await store.close()


async def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: scheme 'postgres' is not known; use"):
        await open_store("postgres://u:p@host/db")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", ":memory:"),
        ("sqlite:///a.db", "a.db"),
        ("sqlite:////tmp/a.db", "/tmp/a.db"),
        ("sqlite:///a%20b%3F.db", "a b?.db"),
    ],
)
def test_a_file_is_named_relative_or_absolute(url: str, path: str) -> None:
    assert sqlite_path(url) == path


def arguments(url: str) -> dict[str, Any]:
    names = ("host", "port", "user", "password", "database", "charset", "unix_socket")
    return {name: value for name, value in connect_arguments(url).items() if name in names}


def test_what_the_url_leaves_out_has_a_default() -> None:
    assert arguments("mysql:///db") == {
        "host": "127.0.0.1",
        "port": 3306,
        "user": "",
        "password": b"",
        "database": "db",
        "charset": "utf8mb4",
    }


def test_every_part_of_the_url_is_read_and_decoded() -> None:
    url = "mysql://us%40er:p%2F%3Aß@[::1]:3307/my%20db?charset=utf8&unix_socket=/run/my.sock"

    assert arguments(url) == {
        "host": "::1",
        "port": 3307,
        "user": "us@er",
        "password": "p/:ß".encode(),
        "database": "my db",
        "charset": "utf8",
        "unix_socket": "/run/my.sock",
    }


def test_tls_is_used_if_the_url_requires_it() -> None:
    assert "ssl" not in connect_arguments("mysql://u@h/db?ssl=false")
    context = connect_arguments("mysql://u@h/db?ssl=true")["ssl"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("query", "verify_mode", "check_hostname"),
    [
        ("ssl-mode=REQUIRED", ssl.CERT_NONE, False),
        ("ssl_mode=required", ssl.CERT_NONE, False),
        ("ssl-mode=VERIFY_CA&ssl-ca={ca}", ssl.CERT_REQUIRED, False),
        ("ssl-mode=VERIFY_IDENTITY", ssl.CERT_REQUIRED, True),
        ("ssl_ca={ca}", ssl.CERT_REQUIRED, True),
        ("ssl-cert={cert}&ssl-key={key}", ssl.CERT_NONE, False),
    ],
)
def test_tls_verifies_what_its_mode_requires(
    certificates: Certificates, query: str, verify_mode: int, check_hostname: bool
) -> None:
    url = f"mysql://u@h/db?{query.format(**certificates.paths())}"

    context = connect_arguments(url)["ssl"]

    assert (context.verify_mode, context.check_hostname) == (verify_mode, check_hostname)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u:p@host", "names no database"),
        ("mysql://u:p@host:many/db", "Port could not be cast"),
        ("mysql://u:p@host/db?ssl=maybe", "ssl=maybe is not known; use ssl=true, ssl=false or"),
        ("mysql://u:p@host/db?ssl_ca=/no/such/file", "ssl-ca=/no/such/file cannot be read"),
        ("mysql://u:p@host/db?sslmode=on&x=1", "sslmode, x is not known; use charset"),
        ("mysql://u:p@host/db?ssl-mode=PREFERRED", "ssl-mode=PREFERRED is not known; use DIS"),
        ("mysql://u:p@host/db?ssl-mode=REQUIRED&ssl=true", "are both set; use ssl-mode"),
        ("mysql://u:p@host/db?ssl-mode=VERIFY_CA", "VERIFY_CA needs ssl-ca"),
        ("mysql://u:p@host/db?ssl=true&ssl-key=/k", "ssl-key is set, though ssl-cert is not"),
        ("mysql://u:p@host/db?ssl-cert=/no/such/file", "ssl-cert=/no/such/file cannot be used"),
    ],
)
def test_an_invalid_url_is_refused_without_its_password(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"^DATABASE_URL: .*{why}") as caught:
        connect_arguments(url)

    assert ":p@" not in str(caught.value)


async def test_a_store_connects_on_first_use(tmp_path: Path) -> None:
    for url in ("mysql://nobody@127.0.0.1:1/nothing", f"sqlite:///{tmp_path}/no/such/folder.db"):
        store = await open_store(url)

        await store.close()
