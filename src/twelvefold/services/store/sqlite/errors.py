"""SQLite's errors as those of the store: the statement is at fault, or the database."""

import sqlite3

from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.store.connection import MIGRATE_HINT

_UNIQUE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}
_TRY_AGAIN = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL),
}
_STATEMENT_FAULT = {
    *(sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH),
    *(sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE),
}
"""The statement or its values are wrong; all other errors are the database's."""


def translate_error(error: BaseException) -> StoreUnavailable | StoreRefused:
    """Return the driver's error as one of the store's."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _translate_without_code(error)
    if code & 0xFF in _TRY_AGAIN:
        return StoreUnavailable(f"the database asks to try again: {error} (SQLite)").loggable()
    if code & 0xFF not in _STATEMENT_FAULT:
        return StoreFailed(f"the database reports: {error} (SQLite)").loggable()
    refused = _refused(error, code)
    return refused.loggable(f"the database refuses the statement: SQLite error {code}")


def is_write_refusal(error: BaseException | None) -> bool:
    """Return whether a read-only connection refused a write."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY


def is_deferred_constraint(error: BaseException | None) -> bool:
    """Return whether a COMMIT failed because rows violate a deferred constraint."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CONSTRAINT


def _refused(error: BaseException, code: int) -> StoreRefused:
    if "no such table" in str(error):
        return StoreRefused(f"{error} (SQLite); {MIGRATE_HINT}")
    return DuplicateRow(str(error)) if code in _UNIQUE else StoreRefused(f"{error} (SQLite)")


def _translate_without_code(error: BaseException) -> StoreUnavailable | StoreRefused:
    """Translate an error that the sqlite3 module raised itself, before or after a library call."""
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.Warning):
        return StoreRefused(f"{error} (SQLite)")
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return StoreRefused(f"a value does not fit SQLite: {error}")
    failed = f"the database's answer cannot be read: {type(error).__name__}"
    return StoreFailed(f"{failed}: {error}").loggable(failed)
