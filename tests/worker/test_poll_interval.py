"""The pauses between two searches for work."""

import asyncio

import pytest

from tests.waiting import HANG_S
from twelvefold.worker.poll_interval import PollInterval


class Recorded(PollInterval):
    """Records the pauses and does not wait."""

    def __init__(self, poll_s: float) -> None:
        super().__init__(poll_s)
        self.pauses: list[float] = []

    async def _wait(self, pause_s: float) -> bool:
        self.pauses.append(pause_s)
        return False


async def test_pauses_are_short_while_there_is_work_and_grow_while_there_is_none() -> None:
    interval = Recorded(0.3)

    for something in (True, False, False, False, False, True):
        await interval.found(something)

    for pause_s, shortest_s in zip(interval.pauses, (0.05, 0.1, 0.2, 0.3, 0.3, 0.05), strict=True):
        assert shortest_s <= pause_s <= 1.1 * shortest_s


async def test_pauses_grow_further_while_a_service_fails() -> None:
    interval = Recorded(1.0)

    for _ in range(7):
        await interval.failed("queue_not_read", RuntimeError("no"))
    await interval.found(False)

    *failures, last = interval.pauses
    for pause_s, longest_s in zip(failures, (2.0, 4.0, *[5.0] * 5), strict=True):
        assert longest_s / 2 <= pause_s <= longest_s
    assert 1.0 <= last <= 1.1


async def test_an_idle_pause_has_full_length_at_once() -> None:
    interval = Recorded(1.0)

    await interval.idle()

    assert interval.pauses == [pytest.approx(1.05, abs=0.05)]


async def test_a_nudge_ends_a_pause() -> None:
    interval = PollInterval(3_600.0)
    for _ in range(12):
        interval.nudge.set()
        await interval.found(False)
    interval.nudge.set()

    async with asyncio.timeout(HANG_S):
        await interval.found(False)
        interval.nudge.set()
        await interval.nudged()
