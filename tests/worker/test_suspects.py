"""How many runs that have outlived processes may be in hand together."""

import pytest

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import WaitingRun
from twelvefold.worker.quarantine import SUSPECT, PoisonRunLimiter


def waiting(*attempts: int) -> list[WaitingRun]:
    return [
        WaitingRun(RunId(ThreadId(f"{n:044}"), 1), tried, "ann") for n, tried in enumerate(attempts)
    ]


@pytest.mark.parametrize(
    ("attempts", "most"), [(0, 99), (1, 99), (2, 64), (3, 32), (6, 4), (8, 1), (9, 1), (10, 1)]
)
def test_as_many_as_there_may_be_halves_with_each_process_that_ended(
    attempts: int, most: int
) -> None:
    assert len(PoisonRunLimiter(10).let_in(waiting(*[attempts] * 99), set())) == most


def test_where_few_tries_are_left_each_is_alone_at_once() -> None:
    assert len(PoisonRunLimiter(3).let_in(waiting(*[SUSPECT] * 9), set())) == 1


def test_the_most_suspect_says_how_many_may_be_beside_it() -> None:
    runs = waiting(6, 2, 2, 9, 2, 2, 0)

    assert PoisonRunLimiter(10).let_in(runs, set()) == [runs[n] for n in (0, 1, 2, 4, 6)]


def test_one_that_is_in_hand_counts_and_one_that_is_over_does_not() -> None:
    suspects, runs = PoisonRunLimiter(10), waiting(9, 9, 0)
    first, second, other = runs

    assert suspects.let_in(runs, set()) == [first, other]
    assert suspects.let_in(runs[1:], {first.run}) == [other]
    assert suspects.left_out == 1
    assert suspects.let_in(runs[1:], set()) == [second, other]
