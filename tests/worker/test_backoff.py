"""Runs that failed are paused, longer each time."""

import pytest

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.worker.backoff import NO_ROOM_S, RUN_BACKOFF, RunBackoff

FIRST_S, LONGEST_S = RUN_BACKOFF.first_s, RUN_BACKOFF.longest_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def run(number: int = 1) -> RunId:
    return RunId(ThreadId(f"{number:044x}"), 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_failed_run_is_paused(clock: Clock) -> None:
    backoff = RunBackoff(clock)

    pause_s = backoff.postpone(run())

    assert run() in backoff
    assert run(2) not in backoff
    clock.now_s += pause_s
    assert run() not in backoff


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    backoff = RunBackoff(clock)

    pauses = [backoff.postpone(run()) for _ in range(40)]

    for number, pause_s in enumerate(pauses):
        longest_s = min(FIRST_S * 2**number, LONGEST_S)
        assert longest_s / 2 <= pause_s <= longest_s


def test_a_run_that_made_progress_starts_again_with_the_first_pause(clock: Clock) -> None:
    backoff = RunBackoff(clock)
    for _ in range(10):
        backoff.postpone(run())

    backoff.forget(run())

    assert run() not in backoff
    assert backoff.postpone(run()) <= FIRST_S


def test_runs_that_were_not_found_again_are_forgotten(clock: Clock) -> None:
    backoff = RunBackoff(clock)
    backoff.postpone(run(1))
    clock.now_s += 2 * LONGEST_S

    backoff.postpone(run(2))

    assert len(backoff) == 1


def test_no_more_runs_are_remembered_than_the_capacity(clock: Clock) -> None:
    backoff = RunBackoff(clock, capacity=10)

    for number in range(100):
        backoff.postpone(run(number))

    assert len(backoff) == 10
    assert backoff.is_full
    clock.now_s += 2 * LONGEST_S
    assert not backoff.is_full


def test_a_run_for_which_there_was_no_memory_has_a_shorter_longest_pause(clock: Clock) -> None:
    backoff = RunBackoff(clock)

    for _ in range(20):
        pause_s = backoff.postpone(run(), NO_ROOM_S)

    assert NO_ROOM_S / 2 <= pause_s <= NO_ROOM_S
