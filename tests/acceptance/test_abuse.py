"""What one tenant notices of an abusive one, judged from samples; then on real processes."""

import os
from pathlib import Path

import pytest

from tests.acceptance.abuse.__main__ import SHORT, measure
from tests.acceptance.abuse.tenant import Sample
from tests.acceptance.abuse.verdict import Phase, faults, percentile, table
from tests.acceptance.abuse.ways import WAYS


def phase(took_ms: float, *, kind: str = "turn", error: str = "", mib: float = 100.0) -> Phase:
    samples = [Sample(kind, took_ms, error)] * 10
    return Phase("a phase", samples, [1.0], {"web": mib, "worker": 50.0}, {"web": 0.5}, 100.0)


def test_a_percentile_is_the_nearest_rank() -> None:
    times = [float(one) for one in range(1, 201)]

    assert [percentile(times, share) for share in (0.5, 0.99, 1)] == [100, 198, 200]
    assert percentile([], 0.99) == 0


def test_three_times_as_long_is_good() -> None:
    assert faults(phase(10), phase(30)) == []


def test_more_than_that_is_a_fault() -> None:
    assert "all: p99 is 31 ms, 3.1 times its 10 ms alone; 3 times is the most" in faults(
        phase(10), phase(31)
    )


def test_an_error_of_the_other_tenant_is_a_fault() -> None:
    assert faults(phase(10), phase(10, error="429")) == ["the other tenant: 10 of turn 429"]


def test_too_much_memory_is_a_fault() -> None:
    assert faults(phase(10), phase(10, mib=301)) == [
        "web: 301 MiB are resident; 300 MiB are the most"
    ]


def test_the_table_has_a_row_for_each_phase() -> None:
    alone = phase(10)

    head, first, second = table(alone, [phase(20)]).splitlines()

    assert head.startswith("way")
    assert "10/10 (1.0)" in first
    assert "20/20 (2.0)" in second


@pytest.mark.slow
@pytest.mark.mysql
@pytest.mark.timeout(400)
async def test_a_tenant_is_served_beside_one_that_does_all_of_it(tmp_path: Path) -> None:
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")

    report = await measure(url, SHORT, list(WAYS), tmp_path)

    together = report.phases[-1]
    assert together.broken == []
    assert [way for way in WAYS if not together.counts[way].keys() - {"lost"}] == [], str(report)
    # How much longer the requests take depends on what else the machine does: `make abuse` tells.
    assert [fault for fault in report.faults if "p99" not in fault] == [], str(report)
