"""Differences of a server from the tested servers."""

import pytest

from twelvefold.admin.parity import differences, server_kind

MARIADB = {
    "version": "10.11.14-MariaDB-0+deb12u2",
    "version_comment": "Debian 12",
    "sql_mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,"
    "NO_ENGINE_SUBSTITUTION",
    "lower_case_table_names": "0",
    "wsrep_on": "OFF",
}
MYSQL = {
    "version": "8.4.6",
    "version_comment": "MySQL Community Server - GPL",
    "sql_mode": "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    "lower_case_table_names": "0",
}
ALL = "tested: MariaDB 10.11, MariaDB 11.8, MySQL 8.4, MySQL 9"


@pytest.mark.parametrize(
    "variables",
    [
        MARIADB,
        {**MARIADB, "version": "11.8.3-MariaDB-log"},
        MYSQL,
        {**MYSQL, "version": "9.5.0"},
        {**MYSQL, "version": "9.1.0-commercial"},
    ],
    ids=lambda variables: variables["version"],
)
def test_a_tested_server_has_no_differences(variables: dict[str, str]) -> None:
    assert list(differences(variables)) == []


@pytest.mark.parametrize(
    ("variables", "difference"),
    [
        ({**MARIADB, "version": "10.6.22-MariaDB"}, f"MariaDB 10.6.22 was not tested; {ALL}"),
        ({**MARIADB, "version": "10.1.1-MariaDB"}, f"MariaDB 10.1.1 was not tested; {ALL}"),
        ({**MYSQL, "version": "8.0.44"}, f"MySQL 8.0.44 was not tested; {ALL}"),
        ({**MYSQL, "version": "90.0.1"}, f"MySQL 90.0.1 was not tested; {ALL}"),
        (
            {**MYSQL, "version": "8.4.6-6", "version_comment": "Percona Server (GPL)"},
            f"Percona Server 8.4.6 was not tested; {ALL}",
        ),
        (
            {**MYSQL, "version": "8.0.39", "aurora_version": "3.10.0"},
            f"Aurora 8.0.39 was not tested; {ALL}",
        ),
        (
            {**MYSQL, "sql_mode": f"{MYSQL['sql_mode']},ANSI_QUOTES"},
            "sql_mode has ANSI_QUOTES, which no tested server had",
        ),
        (
            {**MYSQL, "sql_mode": "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE"},
            "sql_mode lacks ERROR_FOR_DIVISION_BY_ZERO, NO_ZERO_IN_DATE, ONLY_FULL_GROUP_BY, "
            "which every tested MySQL had",
        ),
        (
            {**MYSQL, "lower_case_table_names": "1"},
            "lower_case_table_names is 1; tested with 0",
        ),
        (
            {**MARIADB, "wsrep_on": "ON"},
            "the server is part of a cluster (wsrep_on is ON); the tests run on single servers",
        ),
    ],
)
def test_each_difference_is_reported(variables: dict[str, str], difference: str) -> None:
    assert list(differences(variables)) == [difference]


def test_all_differences_are_reported() -> None:
    changes = {"version": "12.1.2-MariaDB", "lower_case_table_names": "2", "wsrep_on": "ON"}

    assert len(list(differences({**MARIADB, **changes}))) == 3


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("8.0.11-TiDB-v8.5.1", "TiDB"),
        ("8.0.30-Vitess", "Vitess"),
        ("11.8.3-MariaDB", "MariaDB"),
        ("9.5.0", "MySQL"),
    ],
)
def test_a_server_is_recognised_by_its_version(version: str, kind: str) -> None:
    assert server_kind({"version": version}) == kind
