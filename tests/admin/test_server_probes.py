"""The checks of doctor on a server, with results that only a proxy or a cluster returns."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from tests.servers import galera, group
from tests.services.store.builders import on_server
from twelvefold.admin.finding import Finding
from twelvefold.admin.server_probes import probe_hosts, probe_server
from twelvefold.config import Settings
from twelvefold.core.ports import Store
from twelvefold.errors import StoreFailed
from twelvefold.services.store import open_store

NOW_US = 1_800_000_000_000_000
MEMBERS = [
    {"host": "a", "port": 3306, "role": "PRIMARY", "state": "ONLINE"},
    {"host": "b", "port": 3306, "role": "SECONDARY", "state": "ONLINE"},
    {"host": "c", "port": 3306, "role": "SECONDARY", "state": "ONLINE"},
]
SYNCED = {
    "wsrep_cluster_size": "3",
    "wsrep_cluster_status": "Primary",
    "wsrep_ready": "ON",
    "wsrep_local_state_comment": "Synced",
}
SINGLE = {
    "group_replication_group_name": "8a94f357",
    "group_replication_single_primary_mode": "ON",
    "group_replication_consistency": "BEFORE_ON_PRIMARY_FAILOVER",
}


class FakeStore:
    """Answers the statements of the probes; `members` None: the account may not read them."""

    def __init__(
        self,
        *,
        found: int | Exception = 1,
        ahead_s: float = 0.0,
        variables: Mapping[str, str] | None = None,
        status: Mapping[str, str] | None = None,
        members: list[dict[str, Any]] | None = None,
    ) -> None:
        self._found = found
        self._ahead_s = ahead_s
        self._shown = {"VARIABLES": variables or {}, "STATUS": status or {}}
        self._members = members

    @asynccontextmanager
    async def read(self) -> AsyncIterator["FakeStore"]:
        yield self

    write = read

    async def execute(self, statement: str) -> int:
        assert statement == "UPDATE twelvefold_version SET version_num = version_num"
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    async def fetch_one(self, _: str) -> dict[str, Any]:
        return {"now_us": NOW_US + self._ahead_s * 1_000_000}

    async def fetch_all(self, statement: str) -> list[dict[str, Any]]:
        if "replication_group_members" in statement:
            if self._members is None:
                raise StoreFailed("SELECT command denied")
            return self._members
        shown = self._shown["STATUS" if "STATUS" in statement else "VARIABLES"]
        return [{"Variable_name": name, "Value": value} for name, value in shown.items()]


Probe = Callable[..., Any]


@pytest.fixture
def probe() -> Probe:
    async def probe(*, has_schema: bool = True, **answers: Any) -> dict[str, Finding]:
        store = cast("Store", FakeStore(**answers))
        findings = probe_server(store, has_schema=has_schema, now=lambda: NOW_US)
        return {one.what: one async for one in findings}

    return probe


async def test_a_server_on_its_own_has_two_probes(probe: Probe) -> None:
    findings = await probe()

    assert {what: one.level for what, one in findings.items()} == {
        "found rows": "ok",
        "clock": "ok",
    }


async def test_a_proxy_that_counts_changed_rows_is_a_failure(probe: Probe) -> None:
    finding = (await probe(found=0))["found rows"]

    assert finding.level == "fail"
    assert "counts 0 rows, not 1: a proxy drops the client's flag FOUND_ROWS" in finding.found


async def test_an_update_that_is_rejected_says_so(probe: Probe) -> None:
    finding = (await probe(found=StoreFailed("UPDATE command denied")))["found rows"]

    assert finding == Finding("warn", "found rows", "not checked: UPDATE command denied")


async def test_without_a_schema_there_is_no_row_to_update(probe: Probe) -> None:
    assert "found rows" not in await probe(has_schema=False)


@pytest.mark.parametrize(
    ("ahead_s", "found"), [(7.25, "7.2 s ahead of this machine's"), (-3.0, "3.0 s behind this")]
)
async def test_a_clock_that_differs_is_a_warning(probe: Probe, ahead_s: float, found: str) -> None:
    finding = (await probe(ahead_s=ahead_s))["clock"]

    assert finding.level == "warn"
    assert found in finding.found
    assert "leases and mail follow the server's" in finding.found


@pytest.mark.parametrize(
    ("changed", "level", "found"),
    [
        ({}, "ok", "Galera: 3 nodes, Primary, this one is Synced"),
        ({"wsrep_cluster_status": "non-Primary"}, "fail", "3 nodes, non-Primary"),
        ({"wsrep_ready": "OFF"}, "fail", "3 nodes"),
        ({"wsrep_local_state_comment": "Donor/Desynced"}, "fail", "this one is Donor/Desynced"),
        ({"wsrep_cluster_size": "2"}, "warn", "fewer than 3 nodes the cluster stops when one"),
    ],
)
async def test_a_node_of_galera_reports_its_cluster(
    probe: Probe, changed: dict[str, str], level: str, found: str
) -> None:
    findings = await probe(status=SYNCED | changed)

    assert findings["cluster"].level == level
    assert found in findings["cluster"].found
    assert "conflict are rolled back when they commit, and retried" in (
        findings["multi-primary"].found
    )


async def test_the_library_of_galera_without_a_cluster_is_no_cluster(probe: Probe) -> None:
    assert "cluster" not in await probe(status={"wsrep_cluster_size": "0"})


async def test_a_group_lists_its_members(probe: Probe) -> None:
    findings = await probe(variables=SINGLE, members=MEMBERS)

    assert findings["cluster"] == Finding(
        "ok",
        "cluster",
        "group of 3: a:3306 PRIMARY ONLINE, b:3306 SECONDARY ONLINE, c:3306 SECONDARY ONLINE",
    )
    assert "multi-primary" not in findings
    assert "consistency" not in findings


async def test_a_member_that_is_not_online_is_a_warning(probe: Probe) -> None:
    members = [*MEMBERS[:2], MEMBERS[2] | {"state": "RECOVERING"}]

    assert (await probe(variables=SINGLE, members=members))["cluster"].level == "warn"
    assert (await probe(variables=SINGLE, members=MEMBERS[:2]))["cluster"].level == "warn"


async def test_an_account_that_may_not_read_the_members_gets_the_grant(probe: Probe) -> None:
    finding = (await probe(variables=SINGLE))["cluster"]

    assert finding.level == "warn"
    assert "GRANT SELECT ON performance_schema.replication_group_members" in finding.found


async def test_reads_of_a_new_primary_that_may_be_old_are_a_warning(probe: Probe) -> None:
    variables = SINGLE | {"group_replication_consistency": "EVENTUAL"}

    finding = (await probe(variables=variables, members=MEMBERS))["consistency"]

    assert finding.level == "warn"
    assert "set BEFORE_ON_PRIMARY_FAILOVER" in finding.found


@pytest.mark.parametrize(("consistency", "level"), [("EVENTUAL", "warn"), ("BEFORE", "ok")])
async def test_several_primaries_of_a_group_are_named_with_what_follows(
    probe: Probe, consistency: str, level: str
) -> None:
    variables = SINGLE | {
        "group_replication_single_primary_mode": "OFF",
        "group_replication_consistency": consistency,
    }

    finding = (await probe(variables=variables, members=MEMBERS))["multi-primary"]

    assert finding.level == level
    assert "conflict are rolled back when they commit, and retried" in finding.found


async def probed(url: str) -> dict[str, Finding]:
    store = await open_store(url)
    try:
        return {one.what: one async for one in probe_server(store, has_schema=False)}
    finally:
        await store.close()


@pytest.mark.mysql
@pytest.mark.slow
async def test_a_real_cluster_of_galera_is_recognised() -> None:
    findings = await probed(galera()[0])

    assert findings["cluster"].level == "ok"
    assert findings["cluster"].found.startswith("Galera: 3 nodes, Primary, this one is Synced")


@pytest.mark.mysql
@pytest.mark.slow
async def test_a_real_group_and_its_hosts_are_recognised() -> None:
    urls = group()
    hosts = ",".join(url.partition("@")[2].partition("/")[0] for url in urls)
    url = urls[0].replace(hosts.partition(",")[0], hosts)

    findings = await probed(url)
    states = [one.found async for one in probe_hosts(Settings(database_url=url))]

    assert findings["cluster"].level == "ok"
    assert findings["cluster"].found.count("ONLINE") == 3
    assert states == ["it takes writes", *["it takes no writes: it is read-only"] * 2]


@pytest.mark.mysql
@pytest.mark.slow
async def test_an_account_without_the_privilege_is_recognised_in_a_real_group() -> None:
    url = group()[0]
    await on_server(url, "CREATE USER IF NOT EXISTS 'plain'@'%' IDENTIFIED BY 'Plain-1'")
    await on_server(url, "GRANT ALL ON test.* TO 'plain'@'%'")
    login = url.partition("//")[2].partition("@")[0]

    findings = await probed(url.replace(login, "plain:Plain-1"))
    await on_server(url, "DROP USER 'plain'@'%'")

    assert "the account may not read" in findings["cluster"].found
