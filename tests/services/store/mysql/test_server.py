"""Requirements for a server, checked by its variables."""

import pytest

from twelvefold.services.store.mysql.server import find_problems

FIT = {
    "version": "10.11.6-MariaDB-0+deb12u1",
    "sql_mode": "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
    "default_storage_engine": "InnoDB",
    "max_allowed_packet": "16777216",
    "log_bin": "OFF",
    "binlog_format": "STATEMENT",
    "character_set_connection": "utf8mb4",
    "tx_isolation": "READ-COMMITTED",
}


@pytest.mark.parametrize("version", ["8.0.36", "9.7.4", "10.6.0-MariaDB", "12.1.2-MariaDB-log"])
def test_a_fit_server_has_no_problems(version: str) -> None:
    assert list(find_problems(FIT | {"version": version}, [])) == []


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("version", "5.7.44", "the server is 5.7.44: MySQL 8.0 or newer is needed"),
        (
            "version",
            "10.5.9-MariaDB",
            "the server is 10.5.9-MariaDB: MariaDB 10.6 or newer is needed",
        ),
        (
            "sql_mode",
            "",
            "sql_mode is not strict, so values are cut in silence: add STRICT_TRANS_TABLES",
        ),
        (
            "sql_mode",
            "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES",
            "sql_mode has NO_BACKSLASH_ESCAPES: remove it, the driver cannot quote safely with it",
        ),
        ("default_storage_engine", "MyISAM", "default_storage_engine is MyISAM: set it to InnoDB"),
        (
            "max_allowed_packet",
            "1048576",
            "max_allowed_packet is 1048576: set it to 16777216 or more",
        ),
        (
            "character_set_connection",
            "latin1",
            "the connection's charset is latin1: use charset=utf8mb4",
        ),
        (
            "log_bin",
            "ON",
            "binlog_format is STATEMENT, which forbids READ-COMMITTED: set it to ROW",
        ),
        (
            "tx_isolation",
            "REPEATABLE-READ",
            "the isolation of our sessions is REPEATABLE-READ: "
            "something resets it from READ-COMMITTED",
        ),
    ],
)
def test_each_problem_names_the_value_to_set(variable: str, value: str, problem: str) -> None:
    assert list(find_problems(FIT | {variable: value}, [])) == [problem]


def test_all_problems_are_reported_at_once() -> None:
    assert list(find_problems(FIT | {"version": "5.7.44", "sql_mode": ""}, ["runs", "events"])) == [
        "the server is 5.7.44: MySQL 8.0 or newer is needed",
        "sql_mode is not strict, so values are cut in silence: add STRICT_TRANS_TABLES",
        "table runs has no transactions: run ALTER TABLE runs ENGINE=InnoDB",
        "table events has no transactions: run ALTER TABLE events ENGINE=InnoDB",
    ]
