"""Recorded conversations come out as they should, whatever the way to the model does."""

import os
from collections.abc import Sequence

import pytest

from examples.retail.load import taubench
from tests.servers import mysql9

if not taubench().is_dir():
    pytest.skip(f"no recordings in {taubench()}", allow_module_level=True)

from tests.acceptance.recordings import Recording, recordings_in
from tests.acceptance.replay import Result, replay, report

RECORDED = taubench() / "recorded"
FAULTS = "429=0.05,reset=0.05,cut=0.05,500=0.05,seed=1"
CHOSEN = 60
OF_EACH_FLAG = 8
OVER_HTTP = 20


def chosen(recordings: Sequence[Recording]) -> list[Recording]:
    """Some with each flag, such as parallel calls or repeated call ids, then the first others."""
    flags = sorted({flag for one in recordings for flag in one.flags})
    flagged = [
        one
        for flag in flags
        for one in [one for one in recordings if flag in one.flags][:OF_EACH_FLAG]
    ]
    return list(dict.fromkeys([*flagged, *recordings]))[:CHOSEN]


def database_url() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        pytest.fail("no DATABASE_URL: `make test` starts a server")
    return url


def assert_all_as_expected(results: Sequence[Result], recordings: Sequence[Recording]) -> None:
    outputs, runs = sum(len(one.outputs) for one in recordings), len(recordings)
    assert report(results) == (
        f"runs {runs} · tool outputs {outputs}/{outputs} equal · final states {runs}/{runs} equal"
    )


@pytest.mark.timeout(300)  # a quarter of a minute on an idle machine
async def test_sixty_recordings_come_out_as_expected_on_sqlite() -> None:
    recordings = chosen(recordings_in(RECORDED, "retail"))

    results = await replay(recordings, RECORDED, "sqlite://", faults=FAULTS, api="chat", lanes=4)

    assert len(results) == CHOSEN
    assert_all_as_expected(results, recordings)


@pytest.mark.mysql
@pytest.mark.timeout(300)
async def test_sixty_recordings_come_out_as_expected_on_mysql() -> None:
    recordings = chosen(recordings_in(RECORDED, "retail"))

    results = await replay(recordings, RECORDED, database_url(), faults=FAULTS, lanes=4)

    assert len(results) == CHOSEN
    assert_all_as_expected(results, recordings)


@pytest.mark.mysql
@pytest.mark.timeout(300)
async def test_recordings_come_out_as_expected_over_http() -> None:
    recordings = chosen(recordings_in(RECORDED, "retail"))[:OVER_HTTP]

    results = await replay(recordings, RECORDED, database_url(), faults=FAULTS, via="http", lanes=4)

    assert len(results) == OVER_HTTP
    assert_all_as_expected(results, recordings)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "server", ["sqlite", pytest.param("mysql", marks=pytest.mark.mysql), "mysql9"]
)
async def test_all_recordings_come_out_as_expected(server: str) -> None:
    urls = {"sqlite": lambda: "sqlite://", "mysql": database_url, "mysql9": mysql9}
    recordings = recordings_in(RECORDED, "retail")

    results = await replay(recordings, RECORDED, urls[server](), faults=FAULTS)

    assert_all_as_expected(results, recordings)
