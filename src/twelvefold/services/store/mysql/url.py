"""The driver's arguments from the `DATABASE_URL` of a MySQL or MariaDB server."""

import ssl
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from asyncmy.constants.CLIENT import FOUND_ROWS

from twelvefold.errors import SettingsError
from twelvefold.secret_file import SecretFile
from twelvefold.services.store.mysql.driver import QuietCursor
from twelvefold.services.store.mysql.login import ArgumentsWithFile
from twelvefold.services.store.mysql.server_urls import server_urls

CONNECT_S = 5.0
OPTIONS = ("charset", "unix_socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")
MODES = ("DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""As in the server's own client, without PREFERRED, which may use no TLS without notice."""


def connect_arguments(url: str) -> dict[str, Any]:
    """Return the driver's arguments for `mysql://user:password@host:port/database?…`.

    Of several hosts, those of the first one.

    `OPTIONS` may follow, each with `-` or `_`, and `ssl=true` for `ssl-mode=VERIFY_IDENTITY`.
    Raises SettingsError.
    """
    return _parse_hosts(url)[0]


def host_arguments(url: str, password: SecretFile | None = None) -> list[Mapping[str, Any]]:
    """Return the driver's arguments for each host of the URL. Raises SettingsError.

    `password` replaces that of the URL: the arguments have its current value.
    """
    arguments: list[Mapping[str, Any]] = [*_parse_hosts(url)]
    return [ArgumentsWithFile(one, password) for one in arguments] if password else arguments


def _parse_hosts(url: str) -> list[dict[str, Any]]:
    urls = server_urls(url)
    arguments = [_parse_url(one) for one in urls]
    if len(urls) > 1:
        if any("unix_socket" in one for one in arguments):
            _raise_invalid("unix_socket names one server, though the URL has several hosts")
        if not all(urlsplit(one).hostname for one in urls):
            _raise_invalid("one of several hosts is empty; separate hosts by one comma")
    return arguments


def _parse_url(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}") from None
    options = _parse_options(parts.query)
    arguments: dict[str, Any] = {
        "host": parts.hostname or "127.0.0.1",
        "port": port,
        "user": unquote(parts.username or ""),
        # As bytes: the driver would encode text as Latin-1.
        "password": unquote(parts.password or "").encode(),
        "database": unquote(parts.path.lstrip("/")),
        "charset": options.get("charset", "utf8mb4"),
        "connect_timeout": CONNECT_S,
        "client_flag": FOUND_ROWS,
        "cursor_cls": QuietCursor,
    }
    if not arguments["database"]:
        _raise_invalid("names no database; mysql://user:password@host:3306/database does")
    if "unix_socket" in options:
        arguments["unix_socket"] = options["unix_socket"]
    if context := _make_tls_context(options):
        arguments["ssl"] = context
    return arguments


def _parse_options(query: str) -> dict[str, str]:
    given = {
        name.replace("_", "-") if name.startswith("ssl") else name: value
        for name, value in parse_qsl(query, keep_blank_values=True)
    }
    if unknown := sorted(given.keys() - {*OPTIONS, "ssl"}):
        _raise_invalid(f"{', '.join(unknown)} is not known; use {', '.join(OPTIONS)}")
    return given


def _make_tls_context(options: dict[str, str]) -> ssl.SSLContext | None:
    mode, ca = _parse_mode(options), options.get("ssl-ca") or None
    if mode == "DISABLED":
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        _raise_invalid(f"ssl-ca={ca} cannot be read: {error}")
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    _load_certificate(context, options)
    return context


def _parse_mode(options: dict[str, str]) -> str:
    wanted = options.get("ssl", "")
    if wanted not in ("", "true", "false"):
        _raise_invalid(f"ssl={wanted} is not known; use ssl=true, ssl=false or ssl-mode")
    mode = options.get("ssl-mode", "").upper()
    if mode and wanted:
        _raise_invalid("ssl and ssl-mode are both set; use ssl-mode")
    if mode and mode not in MODES:
        _raise_invalid(f"ssl-mode={mode} is not known; use {', '.join(MODES)}")
    if mode == "VERIFY_CA" and not options.get("ssl-ca"):
        _raise_invalid("ssl-mode=VERIFY_CA needs ssl-ca, the file of the certificate authority")
    if mode == "DISABLED" or wanted == "false":
        return "DISABLED"
    if mode or wanted:
        return mode or "VERIFY_IDENTITY"
    if options.get("ssl-ca"):
        return "VERIFY_IDENTITY"
    return "REQUIRED" if options.get("ssl-cert") else "DISABLED"


def _load_certificate(context: ssl.SSLContext, options: dict[str, str]) -> None:
    """Load the client's certificate, for accounts with REQUIRE X509."""
    certificate, key = options.get("ssl-cert"), options.get("ssl-key")
    if key and not certificate:
        _raise_invalid("ssl-key is set, though ssl-cert is not")
    if not certificate:
        return
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        _raise_invalid(f"ssl-cert={certificate} cannot be used: {error}")


def _raise_invalid(reason: str) -> NoReturn:
    raise SettingsError(f"DATABASE_URL: {reason}") from None
