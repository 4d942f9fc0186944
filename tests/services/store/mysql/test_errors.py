"""The meaning of errors of MySQL and MariaDB: all of their numbers, and errors without one."""

import struct
from collections.abc import Iterator

import pytest
from asyncmy.errors import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)

from tests.services.store.mysql.server_errors import FAULTS, NUMBERS, STATES
from twelvefold import errors
from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable, TooLarge
from twelvefold.services.store.mysql import error_numbers as numbers
from twelvefold.services.store.mysql.errors import (
    keeps_connection,
    translate_connect_error,
    translate_error,
)

VERSIONS = {"mysql": "9.7.4", "mariadb": "10.11.18-MariaDB-0+deb12u1"}


def each(ranges: str) -> Iterator[int]:
    """The numbers of "1000 1002-1004"."""
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def driver_error(
    number: int, state: str = "HY000", text: str = "what the server says"
) -> OperationalError:
    error = OperationalError(number, text)
    error.sqlstate = state
    return error


@pytest.mark.parametrize("server", NUMBERS)
def test_every_error_number_has_one_meaning(server: str) -> None:
    states = {number: state for state, some in STATES[server].items() for number in each(some)}
    kinds = {number: kind for kind, some in FAULTS[server].items() for number in each(some)}
    wrong: dict[int, str] = {}

    for number in each(NUMBERS[server]):
        fault = translate_error(driver_error(number, states.get(number, "HY000")), VERSIONS[server])
        if type(fault) is not getattr(errors, kinds.get(number, "StoreFailed")):
            wrong[number] = type(fault).__name__

    assert wrong == {}


@pytest.mark.parametrize("server", NUMBERS)
def test_only_a_listed_number_or_class_is_the_statement_s_fault(server: str) -> None:
    listed = numbers.STATEMENT | numbers.DUPLICATE | numbers.TOO_LARGE
    listed |= numbers.STATEMENT_MARIADB if server == "mariadb" else numbers.STATEMENT_MYSQL
    states = {number: state for state, some in STATES[server].items() for number in each(some)}

    for number in each(NUMBERS[server]):
        state = states.get(number, "HY000")
        is_own = isinstance(
            translate_error(driver_error(number, state), VERSIONS[server]), StoreRefused
        )
        assert is_own == (number in listed or state[:2] in ("21", "22", "23")), number


LIMITS = [1040, 1041, 1037, 1038, 1135, 1203, 1226, 1114, 1021, 1461]
PRIVILEGES = [1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 3118, 3202, 6038]
LASTING = [1030, 1046, 1105, 1194, 1197, 1207, 1290, 1356, 1449, 1534, 1598, 1792, 3098]


@pytest.mark.parametrize("state", ["HY000", "42000", "28000"])
def test_limits_and_privileges_are_never_the_statement_s_fault(state: str) -> None:
    for server in VERSIONS.values():
        for number in LIMITS:
            assert type(translate_error(driver_error(number, state), server)) is StoreUnavailable, (
                number
            )
        for number in (*PRIVILEGES, *LASTING, 7777, 11111):
            assert type(translate_error(driver_error(number, state), server)) is StoreFailed, number


def test_one_number_may_mean_two_things() -> None:
    reason = "CHECK constraint failed"
    assert (
        type(translate_error(driver_error(4025, "23000", reason), VERSIONS["mariadb"]))
        is StoreRefused
    )
    assert type(translate_error(driver_error(4025), VERSIONS["mysql"])) is StoreFailed
    assert type(translate_error(driver_error(4031), VERSIONS["mysql"])) is StoreUnavailable
    assert type(translate_error(driver_error(4031), VERSIONS["mariadb"])) is StoreFailed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (driver_error(1290, text="running with the --read-only option"), StoreUnavailable),
        (driver_error(1290, text="running with the --super-read-only option"), StoreUnavailable),
        (driver_error(1290, text="running with the --secure-file-priv option"), StoreFailed),
        (driver_error(1030, text="Got error 28 from storage engine"), StoreUnavailable),
        (
            driver_error(1030, text='Got error 28 "No space left on device" from engine'),
            StoreUnavailable,
        ),
        (driver_error(1030, text="Got error 122 from storage engine"), StoreUnavailable),
        (driver_error(1030, text="Got error 127 from storage engine"), StoreFailed),
        (
            driver_error(1, text="Can't create/write to file (OS errno 28 - No space)"),
            StoreUnavailable,
        ),
        (driver_error(1026, text="Error writing file 'x' (Errcode: 28)"), StoreUnavailable),
        (driver_error(1366, text="Incorrect value: 'error 28'"), StoreRefused),
        (driver_error(30001, "45000", "a trigger's own number"), StoreRefused),
        (driver_error(9999, "40001", "a proxy wants it again"), StoreUnavailable),
        (driver_error(9999, "08006", "a proxy has lost its server"), StoreUnavailable),
        (driver_error(2003, text="Can't connect"), StoreUnavailable),
        (driver_error(2013, text="Lost connection"), StoreUnavailable),
        (IntegrityError(1062, "Duplicate entry"), DuplicateRow),
        (IntegrityError(1452, "a foreign key constraint fails"), StoreRefused),
        (ProgrammingError(1064, "You have an error in your SQL syntax"), StoreRefused),
        (driver_error(1153, "08S01", "Got a packet bigger than max_allowed_packet"), TooLarge),
    ],
)
def test_the_text_or_the_state_decides_where_the_number_does_not(
    error: Exception, kind: type
) -> None:
    assert type(translate_error(error)) is kind


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (InterfaceError(0, "Not connected"), StoreUnavailable, "Not connected"),
        (InternalError("Packet sequence number wrong"), StoreUnavailable, "sequence"),
        (ConnectionResetError("reset"), StoreUnavailable, "was lost: reset"),
        (EOFError(), StoreUnavailable, "was lost: EOFError"),
        (RuntimeError("Transport does not expose"), StoreUnavailable, "RuntimeError: Transport"),
        (AttributeError("no attribute 'write'"), StoreUnavailable, "AttributeError: no attr"),
        (IndexError("out of range"), StoreUnavailable, "IndexError: out of range"),
        (struct.error("unpack requires"), StoreUnavailable, "error: unpack requires"),
        (AssertionError("expecting EOF"), StoreUnavailable, "AssertionError: expecting EOF"),
        (ValueError("month must be in 1..12"), StoreFailed, "cannot be read: ValueError: month"),
    ],
)
def test_an_error_without_a_number_is_a_lost_connection_or_an_unreadable_answer(
    error: Exception, kind: type, text: str
) -> None:
    fault = translate_error(error)

    assert type(fault) is kind
    assert text in str(fault)
    assert not keeps_connection(error)


def test_an_error_on_connect_is_never_the_statement_s_fault() -> None:
    assert (
        type(translate_connect_error(driver_error(1049, "42000", "Unknown database")))
        is StoreFailed
    )
    assert (
        type(translate_connect_error(driver_error(1040, "08004", "Too many connections")))
        is StoreUnavailable
    )
    assert type(translate_connect_error(driver_error(1064, "42000"))) is StoreFailed


def test_a_server_without_tls_is_distinguished_from_one_that_is_down() -> None:
    refused = driver_error(
        2003, text="Can't connect ([SSL: WRONG_VERSION_NUMBER] wrong version number)"
    )

    assert str(translate_connect_error(refused)).endswith(
        "; the server offers no TLS, which ssl-mode in DATABASE_URL asks for"
    )
