"""What is said of servers that are unlike those of the tests."""

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
    "of",
    [
        MARIADB,
        {**MARIADB, "version": "11.8.3-MariaDB-log"},
        MYSQL,
        {**MYSQL, "version": "9.5.0"},
        {**MYSQL, "version": "9.1.0-commercial"},
    ],
    ids=lambda of: of["version"],
)
def test_a_tested_server_has_no_differences(of: dict[str, str]) -> None:
    assert list(differences(of)) == []


@pytest.mark.parametrize(
    ("of", "said"),
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
            "lower_case_table_names is 1; it was 0 where the release was tested",
        ),
        (
            {**MARIADB, "wsrep_on": "ON"},
            "it is one of a cluster (wsrep_on is ON); the suite runs on single servers",
        ),
    ],
)
def test_each_difference_is_named(of: dict[str, str], said: str) -> None:
    assert list(differences(of)) == [said]


def test_all_differences_are_named_not_just_the_first() -> None:
    of = {**MARIADB, "version": "12.1.2-MariaDB", "lower_case_table_names": "2", "wsrep_on": "ON"}

    assert len(list(differences(of))) == 3


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("8.0.11-TiDB-v8.5.1", "TiDB"),
        ("8.0.30-Vitess", "Vitess"),
        ("11.8.3-MariaDB", "MariaDB"),
        ("9.5.0", "MySQL"),
    ],
)
def test_a_server_is_known_by_its_version(version: str, kind: str) -> None:
    assert server_kind({"version": version}) == kind
