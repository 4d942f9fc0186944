"""How a database server differs from those that the suite of this release runs on."""

from collections.abc import Iterator, Mapping

TESTED = {"MariaDB": ("10.11", "11.8"), "MySQL": ("8.4", "9")}
"""The series of each kind; `.github/workflows/test.yml` runs the suite on every one."""

VARIABLES = (
    *("version", "version_comment", "aurora_version"),
    *("sql_mode", "lower_case_table_names", "wsrep_on"),
)
OTHERS = {"percona": "Percona Server", "tidb": "TiDB", "vitess": "Vitess", "oceanbase": "OceanBase"}
"""Servers that speak MySQL's protocol, by a word of their version or its comment."""

_MODES = {"STRICT_TRANS_TABLES", "ERROR_FOR_DIVISION_BY_ZERO", "NO_ENGINE_SUBSTITUTION"}
MODES = {
    "MariaDB": _MODES | {"NO_AUTO_CREATE_USER"},
    "MySQL": _MODES | {"ONLY_FULL_GROUP_BY", "NO_ZERO_IN_DATE", "NO_ZERO_DATE"},
}
"""`sql_mode` of the tested servers, which have each kind's default."""


def server_kind(of: Mapping[str, str]) -> str:
    """Whose server it is, from its variables by name."""
    said = f"{of['version']} {of.get('version_comment', '')}".lower()
    if of.get("aurora_version"):
        return "Aurora"
    other = next((name for word, name in OTHERS.items() if word in said), None)
    return other or ("MariaDB" if "mariadb" in said else "MySQL")


def series(kind: str, version: str) -> str | None:
    """The tested series that the version is of. None: it is of none of them."""
    return next((one for one in TESTED.get(kind, ()) if f"{version}.".startswith(f"{one}.")), None)


def differences(of: Mapping[str, str]) -> Iterator[str]:
    """Each way in which the server with these variables is unlike every tested one."""
    kind = server_kind(of)
    # 10.11.14-MariaDB-0+deb12u2
    version = of["version"].partition("-")[0]
    if not series(kind, version):
        listed = ", ".join(f"{one} {number}" for one in TESTED for number in TESTED[one])
        yield f"{kind} {version} was not tested; tested: {listed}"
    yield from _modes(kind, of["sql_mode"])
    if of.get("lower_case_table_names", "0") != "0":
        found = of["lower_case_table_names"]
        yield f"lower_case_table_names is {found}; it was 0 where the release was tested"
    if of.get("wsrep_on") == "ON":
        yield "it is one of a cluster (wsrep_on is ON); the suite runs on single servers"


def _modes(kind: str, sql_mode: str) -> Iterator[str]:
    found, tested = set(sql_mode.split(",")) - {""}, MODES.get(kind, MODES["MySQL"])
    if more := sorted(found - tested):
        yield f"sql_mode has {', '.join(more)}, which no tested server had"
    if less := sorted(tested - found):
        yield f"sql_mode lacks {', '.join(less)}, which every tested {kind} had"
