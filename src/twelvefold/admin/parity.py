"""How a database server differs from the servers that this release is tested on."""

from collections.abc import Iterator, Mapping

Versions = Mapping[str, tuple[str, ...]]

TESTED: Versions = {"MariaDB": ("10.11", "11.8"), "MySQL": ("8.4", "9")}
"""The series of each kind. `.github/workflows/test.yml` runs the tests on each of them."""

VARIABLES = (
    *("version", "version_comment", "aurora_version"),
    *("sql_mode", "lower_case_table_names", "wsrep_on"),
)
OTHERS = {"percona": "Percona Server", "tidb": "TiDB", "vitess": "Vitess", "oceanbase": "OceanBase"}
"""Other servers with MySQL's protocol, by a word of their version or version comment."""

_MODES = {"STRICT_TRANS_TABLES", "ERROR_FOR_DIVISION_BY_ZERO", "NO_ENGINE_SUBSTITUTION"}
MODES = {
    "MariaDB": _MODES | {"NO_AUTO_CREATE_USER"},
    "MySQL": _MODES | {"ONLY_FULL_GROUP_BY", "NO_ZERO_IN_DATE", "NO_ZERO_DATE"},
}
"""`sql_mode` of the tested servers: the default of each kind."""


def server_kind(variables: Mapping[str, str]) -> str:
    """Return the product name of the server with these variables."""
    version = f"{variables['version']} {variables.get('version_comment', '')}".lower()
    if variables.get("aurora_version"):
        return "Aurora"
    other = next((name for word, name in OTHERS.items() if word in version), None)
    return other or ("MariaDB" if "mariadb" in version else "MySQL")


def series(kind: str, version: str, tested: Versions = TESTED) -> str | None:
    """Return the tested series of the version, or None."""
    return next((one for one in tested.get(kind, ()) if f"{version}.".startswith(f"{one}.")), None)


def differences(variables: Mapping[str, str], tested: Versions = TESTED) -> Iterator[str]:
    """Return each difference of the server with these variables from all tested ones."""
    kind = server_kind(variables)
    # A version reads, for example, 10.11.14-MariaDB-0+deb12u2.
    version = variables["version"].partition("-")[0]
    if not series(kind, version, tested):
        listed = ", ".join(f"{one} {number}" for one in tested for number in tested[one])
        yield f"{kind} {version} was not tested; tested: {listed}"
    yield from _mode_differences(kind, variables["sql_mode"])
    if variables.get("lower_case_table_names", "0") != "0":
        found = variables["lower_case_table_names"]
        yield f"lower_case_table_names is {found}; tested with 0"
    if variables.get("wsrep_on") == "ON":
        yield "the server is part of a cluster (wsrep_on is ON); the tests run on single servers"


def _mode_differences(kind: str, sql_mode: str) -> Iterator[str]:
    found, tested = set(sql_mode.split(",")) - {""}, MODES.get(kind, MODES["MySQL"])
    if more := sorted(found - tested):
        yield f"sql_mode has {', '.join(more)}, which no tested server had"
    if less := sorted(tested - found):
        yield f"sql_mode lacks {', '.join(less)}, which every tested {kind} had"
