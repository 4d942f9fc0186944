"""`DATABASE_URL` of a MySQL or MariaDB server as the driver's arguments."""

import ssl
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from asyncmy.constants.CLIENT import FOUND_ROWS

from twelvefold.errors import SettingsError
from twelvefold.services.store.mysql.driver import QuietCursor

CONNECT_S = 5.0
OPTIONS = ("charset", "unix_socket", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key")
MODES = ("DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
"""As of the server's own client. PREFERRED is not among them: it may use no TLS, silently."""


def connect_arguments(url: str) -> dict[str, Any]:
    """The driver's arguments for `mysql://user:password@host:port/database?…`.

    `OPTIONS` may follow, each with `-` or `_`, and `ssl=true` for `ssl-mode=VERIFY_IDENTITY`.
    Raises SettingsError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL: {error}") from None
    options = _options(parts.query)
    arguments: dict[str, Any] = {
        "host": parts.hostname or "127.0.0.1",
        "port": port,
        "user": unquote(parts.username or ""),
        # As bytes: the driver would write text in Latin-1.
        "password": unquote(parts.password or "").encode(),
        "database": unquote(parts.path.lstrip("/")),
        "charset": options.get("charset", "utf8mb4"),
        "connect_timeout": CONNECT_S,
        "client_flag": FOUND_ROWS,
        "cursor_cls": QuietCursor,
    }
    if not arguments["database"]:
        _refuse("names no database; mysql://user:password@host:3306/database does")
    if "unix_socket" in options:
        arguments["unix_socket"] = options["unix_socket"]
    if context := _tls(options):
        arguments["ssl"] = context
    return arguments


def _options(query: str) -> dict[str, str]:
    given = {
        name.replace("_", "-") if name.startswith("ssl") else name: value
        for name, value in parse_qsl(query, keep_blank_values=True)
    }
    if unknown := sorted(given.keys() - {*OPTIONS, "ssl"}):
        _refuse(f"{', '.join(unknown)} is not known; use {', '.join(OPTIONS)}")
    return given


def _tls(options: dict[str, str]) -> ssl.SSLContext | None:
    mode, ca = _mode(options), options.get("ssl-ca") or None
    if mode == "DISABLED":
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        _refuse(f"ssl-ca={ca} cannot be read: {error}")
    context.check_hostname = mode == "VERIFY_IDENTITY"
    if mode == "REQUIRED":
        context.verify_mode = ssl.CERT_NONE
    _load_certificate(context, options)
    return context


def _mode(options: dict[str, str]) -> str:
    wanted = options.get("ssl", "")
    if wanted not in ("", "true", "false"):
        _refuse(f"ssl={wanted} is not known; use ssl=true, ssl=false or ssl-mode")
    mode = options.get("ssl-mode", "").upper()
    if mode and wanted:
        _refuse("ssl and ssl-mode are both set; use ssl-mode")
    if mode and mode not in MODES:
        _refuse(f"ssl-mode={mode} is not known; use {', '.join(MODES)}")
    if mode == "VERIFY_CA" and not options.get("ssl-ca"):
        _refuse("ssl-mode=VERIFY_CA needs ssl-ca, the file of the certificate authority")
    if mode == "DISABLED" or wanted == "false":
        return "DISABLED"
    if mode or wanted:
        return mode or "VERIFY_IDENTITY"
    if options.get("ssl-ca"):
        return "VERIFY_IDENTITY"
    return "REQUIRED" if options.get("ssl-cert") else "DISABLED"


def _load_certificate(context: ssl.SSLContext, options: dict[str, str]) -> None:
    """The client's own certificate, for accounts with REQUIRE X509."""
    certificate, key = options.get("ssl-cert"), options.get("ssl-key")
    if key and not certificate:
        _refuse("ssl-key is set, though ssl-cert is not")
    if not certificate:
        return
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        _refuse(f"ssl-cert={certificate} cannot be used: {error}")


def _refuse(why: str) -> NoReturn:
    raise SettingsError(f"DATABASE_URL: {why}") from None
