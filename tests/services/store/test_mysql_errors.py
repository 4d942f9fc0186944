"""Whose fault an error of MySQL or MariaDB is: all of their numbers, and what has none."""

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

from tests.services.store.server_errors import FAULTS, NUMBERS, STATES
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


def told(number: int, state: str = "HY000", text: str = "what the server says") -> OperationalError:
    error = OperationalError(number, text)
    error.sqlstate = state
    return error


@pytest.mark.parametrize("server", NUMBERS)
def test_every_number_of_a_server_is_somebody_s_fault(server: str) -> None:
    states = {number: state for state, some in STATES[server].items() for number in each(some)}
    kinds = {number: kind for kind, some in FAULTS[server].items() for number in each(some)}
    wrong: dict[int, str] = {}

    for number in each(NUMBERS[server]):
        fault = translate_error(told(number, states.get(number, "HY000")), VERSIONS[server])
        if type(fault) is not getattr(errors, kinds.get(number, "StoreFailed")):
            wrong[number] = type(fault).__name__

    assert wrong == {}


@pytest.mark.parametrize("server", NUMBERS)
def test_only_a_listed_number_or_class_is_the_statement_s_own(server: str) -> None:
    listed = numbers.STATEMENT | numbers.DUPLICATE | numbers.TOO_LARGE
    listed |= numbers.STATEMENT_MARIADB if server == "mariadb" else numbers.STATEMENT_MYSQL
    states = {number: state for state, some in STATES[server].items() for number in each(some)}

    for number in each(NUMBERS[server]):
        state = states.get(number, "HY000")
        is_own = isinstance(translate_error(told(number, state), VERSIONS[server]), StoreRefused)
        assert is_own == (number in listed or state[:2] in ("21", "22", "23")), number


LIMITS = [1040, 1041, 1037, 1038, 1135, 1203, 1226, 1114, 1021, 1461]
PRIVILEGES = [1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 3118, 3202, 6038]
LASTING = [1030, 1046, 1105, 1194, 1197, 1207, 1290, 1356, 1449, 1534, 1598, 1792, 3098]


@pytest.mark.parametrize("state", ["HY000", "42000", "28000"])
def test_limits_and_privileges_are_never_the_statement_s(state: str) -> None:
    for server in VERSIONS.values():
        for number in LIMITS:
            assert type(translate_error(told(number, state), server)) is StoreUnavailable, number
        for number in (*PRIVILEGES, *LASTING, 7777, 11111):
            assert type(translate_error(told(number, state), server)) is StoreFailed, number


def test_one_number_may_mean_two_things() -> None:
    reason = "CHECK constraint failed"
    assert type(translate_error(told(4025, "23000", reason), VERSIONS["mariadb"])) is StoreRefused
    assert type(translate_error(told(4025), VERSIONS["mysql"])) is StoreFailed
    assert type(translate_error(told(4031), VERSIONS["mysql"])) is StoreUnavailable
    assert type(translate_error(told(4031), VERSIONS["mariadb"])) is StoreFailed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (told(1290, text="running with the --read-only option"), StoreUnavailable),
        (told(1290, text="running with the --super-read-only option"), StoreUnavailable),
        (told(1290, text="running with the --secure-file-priv option"), StoreFailed),
        (told(1030, text="Got error 28 from storage engine"), StoreUnavailable),
        (told(1030, text='Got error 28 "No space left on device" from engine'), StoreUnavailable),
        (told(1030, text="Got error 122 from storage engine"), StoreUnavailable),
        (told(1030, text="Got error 127 from storage engine"), StoreFailed),
        (told(1, text="Can't create/write to file (OS errno 28 - No space)"), StoreUnavailable),
        (told(1026, text="Error writing file 'x' (Errcode: 28)"), StoreUnavailable),
        (told(1366, text="Incorrect value: 'error 28'"), StoreRefused),
        (told(30001, "45000", "a trigger's own number"), StoreRefused),
        (told(9999, "40001", "a proxy wants it again"), StoreUnavailable),
        (told(9999, "08006", "a proxy has lost its server"), StoreUnavailable),
        (told(2003, text="Can't connect"), StoreUnavailable),
        (told(2013, text="Lost connection"), StoreUnavailable),
        (IntegrityError(1062, "Duplicate entry"), DuplicateRow),
        (IntegrityError(1452, "a foreign key constraint fails"), StoreRefused),
        (ProgrammingError(1064, "You have an error in your SQL syntax"), StoreRefused),
        (told(1153, "08S01", "Got a packet bigger than max_allowed_packet"), TooLarge),
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
def test_what_has_no_number_is_a_lost_connection_or_an_answer_that_cannot_be_read(
    error: Exception, kind: type, text: str
) -> None:
    fault = translate_error(error)

    assert type(fault) is kind
    assert text in str(fault)
    assert not keeps_connection(error)


def test_while_nobody_has_asked_anything_nothing_is_the_statement_s() -> None:
    assert type(translate_connect_error(told(1049, "42000", "Unknown database"))) is StoreFailed
    assert (
        type(translate_connect_error(told(1040, "08004", "Too many connections")))
        is StoreUnavailable
    )
    assert type(translate_connect_error(told(1064, "42000"))) is StoreFailed


def test_a_server_without_tls_is_told_from_one_that_is_away() -> None:
    refused = told(2003, text="Can't connect ([SSL: WRONG_VERSION_NUMBER] wrong version number)")

    assert str(translate_connect_error(refused)).endswith(
        "; the server offers no TLS, which ssl-mode in DATABASE_URL asks for"
    )
