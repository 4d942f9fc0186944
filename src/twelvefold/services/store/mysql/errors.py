"""Which error of MySQL or MariaDB means what: the statement's own fault, or the database's.

An error is the database's unless its SQLSTATE or its number says that the statement or its values
are wrong.
"""

import re
from typing import NamedTuple

from asyncmy.errors import Error as DriverError

from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.mysql import error_numbers as numbers
from twelvefold.services.store.transaction import MIGRATE

READ_ONLY_TRANSACTION = 1792
"""The statement's own fault in a transaction that we began as READ ONLY, else the database's."""
ACCOUNT_LIMIT = 1226
ACCESS_DENIED = 1045
FORBIDDEN_BY_OPTION = 1290
"""Said by a server that has become a replica, and of other options, too."""
_OWN_STATES = ("21", "22", "23", "45")
"""Classes of SQLSTATE: cardinality, data, constraints, and what a trigger signals."""
_GONE_STATE = "08"
_TRY_AGAIN_STATE = "40"
_FULL = re.compile(
    r"no space left|memory limit|\b(?:errno|errcode|error):? (?:12|23|24|28|122|135)\b",
    re.IGNORECASE,
)
"""What the operating system tells a server that has no memory, files or disk left."""


class _Lists(NamedTuple):
    gone: set[int]
    try_again: set[int]
    exhausted: set[int]
    own: set[int]


_MYSQL = _Lists(
    numbers.GONE | numbers.GONE_MYSQL,
    numbers.TRY_AGAIN | numbers.TRY_AGAIN_MYSQL,
    numbers.EXHAUSTED | numbers.EXHAUSTED_MYSQL,
    numbers.OWN | numbers.OWN_MYSQL,
)
_MARIADB = _Lists(
    numbers.GONE | numbers.GONE_MARIADB,
    numbers.TRY_AGAIN | numbers.TRY_AGAIN_MARIADB,
    numbers.EXHAUSTED | numbers.EXHAUSTED_MARIADB,
    numbers.OWN | numbers.OWN_MARIADB,
)


def fault_of(error: BaseException, server: str = "") -> StoreUnavailable | StoreRefused:
    """The driver's error, raised while a statement was under way, as the tree has it.

    `server` is the version that the server gives; without it a MySQL is assumed.
    """
    code, text = code_and_text(error)
    if code == 0:
        return _without_number(error, text)
    return _with_number(error, code, text, server)


def _with_number(
    error: BaseException, code: int, text: str, server: str
) -> StoreUnavailable | StoreRefused:
    # Most texts quote a value or a piece of the statement, so a log has the number.
    number = f"MySQL error {code}"
    if code in numbers.TOO_LARGE:
        return TooLarge(f"{text}; raise max_allowed_packet").loggable()
    lists = _lists(server)
    state = (getattr(error, "sqlstate", None) or "")[:2]
    if state in _OWN_STATES or code in lists.own or code in numbers.DUPLICATE:
        return _own(code, text).loggable(f"the database refuses the statement: {number}")
    fault = _database_s(code, text, state, lists)
    is_fixed = code in lists.exhausted | lists.try_again | lists.gone
    return fault.loggable() if is_fixed else fault.loggable(str(fault).replace(text, number))


def connect_fault(error: BaseException) -> StoreUnavailable:
    """The driver's error, raised while no statement was under way, with what to set instead."""
    fault = fault_of(error)
    told = f"{fault}{_connect_hint(error)}"
    # No statement of anybody's was sent that it could quote.
    if isinstance(fault, StoreRefused):
        return StoreFailed(told).loggable()
    return type(fault)(told).loggable()


def _connect_hint(error: BaseException) -> str:
    code, text = code_and_text(error)
    if code == ACCESS_DENIED:
        return "; if the account requires TLS, add ssl-mode=REQUIRED to DATABASE_URL"
    if "WRONG_VERSION_NUMBER" in text:
        return "; the server offers no TLS, which ssl-mode in DATABASE_URL asks for"
    if "CERTIFICATE_VERIFY_FAILED" not in text:
        return ""
    if "mismatch" in text:
        return "; ssl-mode=VERIFY_CA with ssl-ca checks the certificate without the host's name"
    return "; set ssl-ca to the authority's file, or use ssl-mode=REQUIRED, which checks none"


def code_and_text(error: BaseException) -> tuple[int, str]:
    """The server's number, or 0, and what the error says."""
    if len(error.args) == 2 and isinstance(error.args[0], int):
        code, text = error.args
        return code, f"{text} (MySQL error {code})" if code else str(text)
    return 0, str(error) or type(error).__name__


def leaves_the_connection(error: BaseException, server: str = "") -> bool:
    """Whether the connection is still in step with a server that is of use."""
    code, lists = code_and_text(error)[0], _lists(server)
    return code in lists.try_again or code in lists.exhausted


def _lists(server: str) -> _Lists:
    return _MARIADB if "mariadb" in server.lower() else _MYSQL


def _own(code: int, text: str) -> StoreRefused:
    if code == numbers.NO_TABLE:
        return StoreRefused(f"{text}; {MIGRATE}")
    return DuplicateRow(text) if code in numbers.DUPLICATE else StoreRefused(text)


def _database_s(code: int, text: str, state: str, lists: _Lists) -> StoreUnavailable:
    if code in lists.exhausted or _FULL.search(text):
        return StoreUnavailable(f"the database has reached a limit: {text}")
    if code in lists.try_again or state == _TRY_AGAIN_STATE:
        return StoreUnavailable(f"the database asks to try again: {text}")
    if code in lists.gone or state == _GONE_STATE or _is_read_only(code, text):
        return StoreUnavailable(f"the database cannot be reached: {text}")
    return StoreFailed(f"the database reports: {text}")


def _without_number(error: BaseException, text: str) -> StoreUnavailable:
    if isinstance(error, ValueError | ArithmeticError):
        failed = f"the database's answer cannot be read: {type(error).__name__}"
        return StoreFailed(f"{failed}: {text}").loggable(failed)
    lost = "the connection to the database was lost"
    if isinstance(error, DriverError | OSError):
        return StoreUnavailable(f"{lost}: {text}").loggable()
    kind = type(error).__name__
    return StoreUnavailable(f"{lost}: {kind}: {text}").loggable(f"{lost}: {kind}")


def _is_read_only(code: int, text: str) -> bool:
    return code == FORBIDDEN_BY_OPTION and ("read-only" in text or "read_only" in text)
