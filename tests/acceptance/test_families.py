"""Runs with sub-workflows on workers that are killed: each run ends, each purchase is made once."""

import os

import pytest

from tests.acceptance.families.__main__ import play

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]


async def test_families_survive_workers_that_are_killed() -> None:
    report = await play(os.environ["DATABASE_URL"], 12, 2, most_kills=8)

    assert report.is_clean, str(report)
    assert report.kills


@pytest.mark.slow
async def test_two_hundred_families_survive_workers_that_are_killed() -> None:
    report = await play(os.environ["DATABASE_URL"], 200, 3)

    assert report.is_clean, str(report)
