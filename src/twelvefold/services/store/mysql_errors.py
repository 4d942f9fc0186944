"""Which error of MySQL or MariaDB means what: the statement's own fault, or the database's.

An error is the database's unless its SQLSTATE or its number says that the statement or its values
are wrong. Source: the error references of MySQL 9 and MariaDB; a test goes through all of them.
"""

from asyncmy.errors import Error as DriverError

from twelvefold.errors import (
    DuplicateRow,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
)
from twelvefold.services.store.transaction import MIGRATE

GONE = {
    *(1040, 1042, 1043, 1047, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1836, 1927),
    *(2002, 2003, 2006, 2013, 2014, 2055, 3169, 4031),
}
"""The connection is of no use any more, or leads to a server that is of none."""
TRY_AGAIN = {1020, 1180, 1205, 1206, 1213, 1317, 1412, 1637, 3100, 3101}
"""The server has undone the transaction, or would have it tried again."""
EXHAUSTED = {3, 28, 1021, 1037, 1038, 1041, 1114, 1135, 1226, 3168}
"""A limit of the server or the account is reached; that ends when others stop, or by hand."""
FORBIDDEN_BY_OPTION = 1290
"""Said by a server that has become a replica, and of other options, too."""
DUPLICATE = {1062, 1586}
NO_TABLE = 1146
READ_ONLY_TRANSACTION = 1792
"""The statement's own fault in a transaction that we began as READ ONLY, else the database's."""
TOO_LARGE = {1153, 1162, 1301}
OWN_STATES = ("21", "22", "23")
"""Classes of SQLSTATE: cardinality, data exception, integrity constraint violation."""
OWN = {1054, 1064, NO_TABLE, 1364, 1366, 1451, 1452, 3819, 4025, *DUPLICATE}
"""The statement or its values are wrong, whatever the SQLSTATE."""


def fault_of(error: BaseException) -> StoreUnavailable | StoreRefused:
    """The driver's error, raised while a statement was under way, as the tree has it."""
    code, text = code_and_text(error)
    if code == 0:
        return _without_number(error, text)
    if code in GONE or (code == FORBIDDEN_BY_OPTION and _is_read_only(text)):
        return StoreUnavailable(f"the database cannot be reached: {text}")
    if code in TRY_AGAIN:
        return StoreUnavailable(f"the database asks to try again: {text}")
    if code in EXHAUSTED:
        return StoreUnavailable(f"the database has reached a limit: {text}")
    if code in TOO_LARGE:
        return TooLarge(f"{text}; raise max_allowed_packet")
    if code == NO_TABLE:
        return StoreRefused(f"{text}; {MIGRATE}")
    if code in DUPLICATE:
        return DuplicateRow(text)
    if code in OWN or (getattr(error, "sqlstate", None) or "")[:2] in OWN_STATES:
        return StoreRefused(text)
    return StoreFailed(f"the database reports: {text}")


def connect_fault(error: BaseException) -> StoreUnavailable:
    """The driver's error, raised while no statement of anybody was under way."""
    fault = fault_of(error)
    return StoreFailed(str(fault)) if isinstance(fault, StoreRefused) else fault


def code_and_text(error: BaseException) -> tuple[int, str]:
    """The server's number, or 0, and what the error says."""
    if len(error.args) == 2 and isinstance(error.args[0], int):
        code, text = error.args
        return code, f"{text} (MySQL error {code})" if code else str(text)
    return 0, str(error) or type(error).__name__


def leaves_the_connection(error: BaseException) -> bool:
    """Whether the connection is still in step with a server that is of use."""
    return code_and_text(error)[0] in TRY_AGAIN | EXHAUSTED


def _without_number(error: BaseException, text: str) -> StoreUnavailable:
    if isinstance(error, ValueError | ArithmeticError):
        return StoreFailed(f"the database's answer cannot be read: {type(error).__name__}: {text}")
    kind = "" if isinstance(error, DriverError | OSError) else f"{type(error).__name__}: "
    return StoreUnavailable(f"the connection to the database was lost: {kind}{text}")


def _is_read_only(text: str) -> bool:
    return "read-only" in text or "read_only" in text
