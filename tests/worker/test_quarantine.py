"""How many runs that have outlived processes may be driven together."""

import pytest

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import WaitingRun
from twelvefold.worker.quarantine import POISON_ATTEMPTS, PoisonRunLimiter


def waiting(*attempts: int) -> list[WaitingRun]:
    return [
        WaitingRun(RunId(ThreadId(f"{n:044}"), 1), count, "ann") for n, count in enumerate(attempts)
    ]


@pytest.mark.parametrize(
    ("attempts", "most"), [(0, 99), (1, 99), (2, 64), (3, 32), (6, 4), (8, 1), (9, 1), (10, 1)]
)
def test_the_limit_halves_with_each_process_that_ended(attempts: int, most: int) -> None:
    assert len(PoisonRunLimiter(10).select(waiting(*[attempts] * 99), set())) == most


def test_a_run_with_few_attempts_left_is_driven_alone() -> None:
    assert len(PoisonRunLimiter(3).select(waiting(*[POISON_ATTEMPTS] * 9), set())) == 1


def test_the_run_with_the_most_attempts_sets_the_limit() -> None:
    runs = waiting(6, 2, 2, 9, 2, 2, 0)

    assert PoisonRunLimiter(10).select(runs, set()) == [runs[n] for n in (0, 1, 2, 4, 6)]


def test_a_run_that_is_held_counts_and_one_that_is_over_does_not() -> None:
    limiter, runs = PoisonRunLimiter(10), waiting(9, 9, 0)
    first, second, other = runs

    assert limiter.select(runs, set()) == [first, other]
    assert limiter.select(runs[1:], {first.run}) == [other]
    assert limiter.excluded == 1
    assert limiter.select(runs[1:], set()) == [second, other]
