"""Requirements for a MySQL or MariaDB server, and the setting for each that is not met."""

import re
from collections.abc import Iterator, Mapping

VARIABLES = (
    *("version", "sql_mode", "default_storage_engine", "max_allowed_packet", "log_bin"),
    *("binlog_format", "character_set_connection", "transaction_isolation", "tx_isolation"),
)
MIN_PACKET = 16 * 1024 * 1024
ISOLATION = "READ-COMMITTED"


def find_problems(variables: Mapping[str, str], not_innodb: list[str]) -> Iterator[str]:
    """Yield what makes the server unfit, each with the value to set.

    `variables` are those of a session of the store; `not_innodb` are tables of another engine.
    """
    yield from _check_version(variables["version"])
    yield from _check_modes(set(variables["sql_mode"].split(",")))
    if (engine := variables["default_storage_engine"]) != "InnoDB":
        yield f"default_storage_engine is {engine}: set it to InnoDB"
    for table in not_innodb:
        yield f"table {table} has no transactions: run ALTER TABLE {table} ENGINE=InnoDB"
    if int(packet := variables["max_allowed_packet"]) < MIN_PACKET:
        yield f"max_allowed_packet is {packet}: set it to {MIN_PACKET} or more"
    if (charset := variables["character_set_connection"]) != "utf8mb4":
        yield f"the connection's charset is {charset}: use charset=utf8mb4"
    if variables.get("log_bin") == "ON" and variables.get("binlog_format") == "STATEMENT":
        yield f"binlog_format is STATEMENT, which forbids {ISOLATION}: set it to ROW"
    isolation = variables.get("transaction_isolation") or variables.get("tx_isolation")
    if isolation != ISOLATION:
        yield f"the isolation of our sessions is {isolation}: something resets it from {ISOLATION}"


def _check_modes(modes: set[str]) -> Iterator[str]:
    if not modes & {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}:
        yield "sql_mode is not strict, so values are cut in silence: add STRICT_TRANS_TABLES"
    if "NO_BACKSLASH_ESCAPES" in modes:
        # The driver escapes bytes as if it were not set: bytes could be read as SQL.
        yield "sql_mode has NO_BACKSLASH_ESCAPES: remove it, the driver cannot quote safely with it"


def _check_version(version: str) -> Iterator[str]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    kind, oldest = ("MariaDB", (10, 6)) if "mariadb" in version.lower() else ("MySQL", (8, 0))
    if numbers < oldest:
        yield f"the server is {version}: {kind} {oldest[0]}.{oldest[1]} or newer is needed"
