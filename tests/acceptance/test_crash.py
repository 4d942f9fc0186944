"""The promise, kept by real processes: killed anywhere, nothing is lost and nothing done twice."""

import os

import pytest

from tests.acceptance.crash import AT_RANDOM, Kill, Results, crash, good, kills, table

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


def once_each(boundaries: list[Kill]) -> list[Kill]:
    """One kill a place: in the step that enrols, where the place has one there."""
    chosen: dict[str, Kill] = {}
    for one in boundaries:
        if one.place not in chosen or one.halt.endswith(":2") or one.hold == 2:
            chosen[one.place] = one
    return list(chosen.values())


async def test_killed_at_each_boundary_a_run_is_finished_once() -> None:
    boundaries = once_each(kills())

    results = await crash(URL, boundaries, randoms=0)

    assert good(results), table(results)
    assert len(results) == len(boundaries)


async def test_killed_at_random_instants_a_run_is_finished_once_by_the_real_commands() -> None:
    results = await crash(URL, [], randoms=10)

    assert good(results), table(results)
    assert len(results[AT_RANDOM]) == 10


async def test_the_harness_sees_a_tool_that_commits_before_the_journal() -> None:
    results = await crash(URL, [Kill("between both", "rows:2")], randoms=0, apart=True)

    (verdict,) = results["between both"]
    assert verdict.doubled
    assert any("ToolFailed" in reason for reason in verdict.why)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_killed_at_every_boundary_of_every_step_a_run_is_finished_once() -> None:
    results: Results = await crash(URL, kills(), randoms=200)

    assert good(results), table(results)
