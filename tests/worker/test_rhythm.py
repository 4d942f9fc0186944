"""The pauses between two looks for work."""

import asyncio
import random

import pytest

from twelvefold.worker.poll_interval import PollInterval


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause would have been, without its jitter."""
    pauses: list[float] = []

    def noted(low: float, high: float) -> float:
        return high

    async def _wait(self: PollInterval, jitter: tuple[float, float] = (1, 1)) -> None:
        pauses.append(self._pause_s)

    monkeypatch.setattr(random, "uniform", noted)
    monkeypatch.setattr(PollInterval, "_wait", _wait)
    return pauses


async def test_pauses_are_short_while_there_is_work_and_grow_while_there_is_none(
    waited: list[float],
) -> None:
    pace = PollInterval(0.3)

    for something in (True, False, False, False, False, True):
        await pace.found(something)

    assert waited == [0.05, 0.1, 0.2, 0.3, 0.3, 0.05]


async def test_pauses_grow_further_while_a_service_fails(waited: list[float]) -> None:
    pace = PollInterval(1.0)

    for _ in range(7):
        await pace.failed("queue_not_read", RuntimeError("no"))
    await pace.found(False)

    assert waited == [2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0]


async def test_a_nudge_ends_a_pause() -> None:
    pace = PollInterval(60.0)
    for _ in range(12):
        pace.nudge.set()
        await pace.found(False)
    pace.nudge.set()

    async with asyncio.timeout(1):
        await pace.found(False)
        pace.nudge.set()
        await pace.nudged()
