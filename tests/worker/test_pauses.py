"""Runs that came to nothing are left alone, longer each time."""

import pytest

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.worker import backoff as pauses
from twelvefold.worker.backoff import FIRST_S, LONGEST_S, RunBackoff


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


def test_a_run_is_left_alone_for_its_pause(clock: Clock) -> None:
    paused = RunBackoff(clock)

    pause_s = paused.failed(run())

    assert run() in paused
    assert run(2) not in paused
    clock.now_s += pause_s
    assert run() not in paused


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    paused = RunBackoff(clock)

    lengths = [paused.failed(run()) for _ in range(40)]

    for number, length_s in enumerate(lengths):
        longest_s = min(FIRST_S * 2**number, LONGEST_S)
        assert longest_s / 2 <= length_s <= longest_s


def test_a_run_that_came_to_something_begins_anew(clock: Clock) -> None:
    paused = RunBackoff(clock)
    for _ in range(10):
        paused.failed(run())

    paused.rested(run())

    assert run() not in paused
    assert paused.failed(run()) <= FIRST_S


def test_runs_that_were_not_seen_again_are_forgotten(clock: Clock) -> None:
    paused = RunBackoff(clock)
    paused.failed(run(1))
    clock.now_s += 2 * LONGEST_S

    paused.failed(run(2))

    assert len(paused) == 1


def test_no_more_runs_are_remembered_than_fit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "REMEMBERED", 10)
    paused = RunBackoff(clock)

    for number in range(100):
        paused.failed(run(number))

    assert len(paused) == 10
    assert paused.are_full
    clock.now_s += 2 * LONGEST_S
    assert not paused.are_full


def test_a_run_that_only_lacks_room_is_not_left_alone_for_long(clock: Clock) -> None:
    paused = RunBackoff(clock)

    for _ in range(20):
        pause_s = paused.failed(run(), pauses.NO_ROOM_S)

    assert pauses.NO_ROOM_S / 2 <= pause_s <= pauses.NO_ROOM_S
