"""What a MySQL or MariaDB server must be like for the journal, and the cure where it is not."""

import re
from collections.abc import Iterator, Mapping

VARIABLES = (
    *("version", "sql_mode", "default_storage_engine", "max_allowed_packet", "log_bin"),
    *("binlog_format", "character_set_connection", "transaction_isolation", "tx_isolation"),
)
MIN_PACKET = 16 * 1024 * 1024
ISOLATION = "READ-COMMITTED"


def problems(of: Mapping[str, str], not_innodb: list[str]) -> Iterator[str]:
    """The variables of our session, by name, and the journal's tables that another engine holds."""
    yield from _too_old(of["version"])
    yield from _modes(set(of["sql_mode"].split(",")))
    if of["default_storage_engine"] != "InnoDB":
        yield f"default_storage_engine is {of['default_storage_engine']}: set it to InnoDB"
    for table in not_innodb:
        yield f"table {table} has no transactions: run ALTER TABLE {table} ENGINE=InnoDB"
    if int(of["max_allowed_packet"]) < MIN_PACKET:
        yield f"max_allowed_packet is {of['max_allowed_packet']}: set it to {MIN_PACKET} or more"
    if of["character_set_connection"] != "utf8mb4":
        yield f"the connection's charset is {of['character_set_connection']}: use charset=utf8mb4"
    if of.get("log_bin") == "ON" and of.get("binlog_format") == "STATEMENT":
        yield f"binlog_format is STATEMENT, which forbids {ISOLATION}: set it to ROW"
    isolation = of.get("transaction_isolation") or of.get("tx_isolation")
    if isolation != ISOLATION:
        yield f"the isolation of our sessions is {isolation}: something resets it from {ISOLATION}"


def _modes(modes: set[str]) -> Iterator[str]:
    if not modes & {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}:
        yield "sql_mode is not strict, so values are cut in silence: add STRICT_TRANS_TABLES"
    if "NO_BACKSLASH_ESCAPES" in modes:
        # The driver escapes bytes as if it were not set: what is in them would become SQL.
        yield "sql_mode has NO_BACKSLASH_ESCAPES: remove it, the driver cannot quote safely with it"


def _too_old(version: str) -> Iterator[str]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    kind, oldest = ("MariaDB", (10, 6)) if "mariadb" in version.lower() else ("MySQL", (8, 0))
    if numbers < oldest:
        yield f"the server is {version}: {kind} {oldest[0]}.{oldest[1]} or newer is needed"
