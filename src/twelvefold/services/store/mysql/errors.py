"""Errors of MySQL and MariaDB as those of the store: the statement is at fault, or the database.

An error is the database's unless its SQLSTATE or its number means that the statement or its values
are wrong.
"""

import re
from typing import NamedTuple

from asyncmy.errors import Error as DriverError

from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.connection import MIGRATE_HINT
from twelvefold.services.store.mysql import error_numbers as numbers

READ_ONLY_TRANSACTION = 1792
"""The statement's fault in a transaction that the store began as READ ONLY, else the database's."""
ACCOUNT_LIMIT = 1226
ACCESS_DENIED = 1045
FORBIDDEN_BY_OPTION = 1290
"""A server that has become a replica raises it; other options raise it too."""
_STATEMENT_STATES = ("21", "22", "23", "45")
"""Classes of SQLSTATE: cardinality, data, constraints, and signals of triggers."""
_GONE_STATE = "08"
_TRY_AGAIN_STATE = "40"
_FULL = re.compile(
    r"no space left|memory limit|\b(?:errno|errcode|error):? (?:12|23|24|28|122|135)\b",
    re.IGNORECASE,
)
"""Errors of the operating system in a server without memory, files or disk space."""


class _Lists(NamedTuple):
    gone: set[int]
    try_again: set[int]
    exhausted: set[int]
    statement: set[int]


_MYSQL = _Lists(
    numbers.GONE | numbers.GONE_MYSQL,
    numbers.TRY_AGAIN | numbers.TRY_AGAIN_MYSQL,
    numbers.EXHAUSTED | numbers.EXHAUSTED_MYSQL,
    numbers.STATEMENT | numbers.STATEMENT_MYSQL,
)
_MARIADB = _Lists(
    numbers.GONE | numbers.GONE_MARIADB,
    numbers.TRY_AGAIN | numbers.TRY_AGAIN_MARIADB,
    numbers.EXHAUSTED | numbers.EXHAUSTED_MARIADB,
    numbers.STATEMENT | numbers.STATEMENT_MARIADB,
)


def translate_error(error: BaseException, server: str = "") -> StoreUnavailable | StoreRefused:
    """Return the driver's error, raised while a statement ran, as one of the store's.

    `server` is the server's version; without it a MySQL is assumed.
    """
    code, text = parse_error(error)
    if code == 0:
        return _translate_without_number(error, text)
    return _translate_number(error, code, text, server)


def _translate_number(
    error: BaseException, code: int, text: str, server: str
) -> StoreUnavailable | StoreRefused:
    # Most texts quote a value or a part of the statement, so the log gets the number instead.
    number = f"MySQL error {code}"
    if code in numbers.TOO_LARGE:
        return TooLarge(f"{text}; raise max_allowed_packet").loggable()
    lists = _lists(server)
    state = (getattr(error, "sqlstate", None) or "")[:2]
    if state in _STATEMENT_STATES or code in lists.statement or code in numbers.DUPLICATE:
        return _refused(code, text).loggable(f"the database refuses the statement: {number}")
    fault = _unavailable(code, text, state, lists)
    has_no_values = code in lists.exhausted | lists.try_again | lists.gone
    return fault.loggable() if has_no_values else fault.loggable(str(fault).replace(text, number))


def translate_connect_error(error: BaseException) -> StoreUnavailable:
    """Return the driver's error, raised while it connected, with the setting that may help."""
    fault = translate_error(error)
    text = f"{fault}{_connect_hint(error)}"
    # The text can be logged: no statement was sent that it could quote.
    if isinstance(fault, StoreRefused):
        return StoreFailed(text).loggable()
    return type(fault)(text).loggable()


def _connect_hint(error: BaseException) -> str:
    code, text = parse_error(error)
    if code == ACCESS_DENIED:
        return "; if the account requires TLS, add ssl-mode=REQUIRED to DATABASE_URL"
    if "WRONG_VERSION_NUMBER" in text:
        return "; the server offers no TLS, which ssl-mode in DATABASE_URL asks for"
    if "CERTIFICATE_VERIFY_FAILED" not in text:
        return ""
    if "mismatch" in text:
        return "; ssl-mode=VERIFY_CA with ssl-ca checks the certificate without the host's name"
    return "; set ssl-ca to the authority's file, or use ssl-mode=REQUIRED, which checks none"


def parse_error(error: BaseException) -> tuple[int, str]:
    """Return the server's error number, or 0, and the text of the error."""
    if len(error.args) == 2 and isinstance(error.args[0], int):
        code, text = error.args
        return code, f"{text} (MySQL error {code})" if code else str(text)
    return 0, str(error) or type(error).__name__


def keeps_connection(error: BaseException, server: str = "") -> bool:
    """Return whether the connection can still be used after the error."""
    code, lists = parse_error(error)[0], _lists(server)
    return code in lists.try_again or code in lists.exhausted


def _lists(server: str) -> _Lists:
    return _MARIADB if "mariadb" in server.lower() else _MYSQL


def _refused(code: int, text: str) -> StoreRefused:
    if code == numbers.NO_TABLE:
        return StoreRefused(f"{text}; {MIGRATE_HINT}")
    return DuplicateRow(text) if code in numbers.DUPLICATE else StoreRefused(text)


def _unavailable(code: int, text: str, state: str, lists: _Lists) -> StoreUnavailable:
    if code in lists.exhausted or _FULL.search(text):
        return StoreUnavailable(f"the database has reached a limit: {text}")
    if code in lists.try_again or state == _TRY_AGAIN_STATE:
        return StoreUnavailable(f"the database asks to try again: {text}")
    if code in lists.gone or state == _GONE_STATE or is_read_only(code, text):
        return StoreUnavailable(f"the database cannot be reached: {text}")
    return StoreFailed(f"the database reports: {text}")


def _translate_without_number(error: BaseException, text: str) -> StoreUnavailable:
    if isinstance(error, ValueError | ArithmeticError):
        failed = f"the database's answer cannot be read: {type(error).__name__}"
        return StoreFailed(f"{failed}: {text}").loggable(failed)
    lost = "the connection to the database was lost"
    if isinstance(error, DriverError | OSError):
        return StoreUnavailable(f"{lost}: {text}").loggable()
    kind = type(error).__name__
    return StoreUnavailable(f"{lost}: {kind}: {text}").loggable(f"{lost}: {kind}")


def is_read_only(code: int, text: str) -> bool:
    """Return whether the server rejects writes, as after a failover to another one."""
    by_option = code == FORBIDDEN_BY_OPTION and ("read-only" in text or "read_only" in text)
    return by_option or code in numbers.READ_ONLY
