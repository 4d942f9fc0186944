"""Round-robin between principals: whose run is next, and how many one principal may have."""

import pytest

from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import WaitingRun
from twelvefold.worker.turns import Search, Turns, default_share


def waiting(**runs: int) -> list[WaitingRun]:
    """Return so many waiting runs of each principal."""
    return [
        WaitingRun(RunId(ThreadId(f"{name:0>44}"), n + 1), 0, name)
        for name, number in runs.items()
        for n in range(number)
    ]


def names(runs: list[WaitingRun]) -> str:
    return " ".join(f"{one.principal}{one.run.ordinal}" for one in runs)


def test_each_principal_has_a_run_before_one_has_two() -> None:
    assert names(Turns(9).order(waiting(a=3, b=1, c=2), choice=1)) == "a1 b1 c1 a2 c2 a3"


def test_the_next_turn_is_that_of_the_next_principal() -> None:
    turns = Turns(9)
    turns.after = "b"

    assert names(turns.order(waiting(a=2, b=2, c=1, d=1), choice=1)) == "c1 d1 a1 b1 a2 b2"


def test_the_first_runs_of_a_principal_are_in_random_order() -> None:
    firsts = {Turns(9).order(waiting(a=9), choice=3)[0].run.ordinal for _ in range(200)}

    assert firsts == {1, 2, 3}


def test_no_principal_is_given_more_than_its_share() -> None:
    turns, runs = Turns(2), waiting(a=3, b=3)
    held = {RunId(ThreadId("x"), 1): "a", RunId(ThreadId("y"), 1): "c"}

    assert names(turns.choose(turns.order(runs, choice=1), 9, held)) == "a1 b1 b2"


@pytest.mark.parametrize(
    ("max_runs", "share"), [(1, 1), (2, 1), (8, 7), (9, 8), (16, 14), (256, 224)]
)
def test_one_principal_leaves_a_slot_to_others_by_default(max_runs: int, share: int) -> None:
    assert default_share(max_runs) == share


def test_every_principal_has_a_turn_however_many_runs_wait() -> None:
    turns, runs, taken = Turns(99), waiting(a=40, b=40, c=1, d=40), list[str]()
    for _ in range(8):
        chosen = turns.choose(turns.order(runs, choice=1), 1, {})
        turns.record(chosen, 1, Search(turns.after))
        runs.remove(chosen[0])
        taken.append(chosen[0].principal)

    assert taken == ["a", "b", "c", "d", "a", "b", "d", "a"]


def test_a_search_from_the_beginning_is_over_at_the_end() -> None:
    search = Search("")

    assert [search.advance(end) for end in ("b", "f", "")] == [False, False, True]
    assert search.after == ""


@pytest.mark.parametrize("last", ["d", "e", ""])
def test_a_search_that_began_after_a_principal_is_over_when_it_reaches_it(last: str) -> None:
    search = Search("d")

    assert [search.advance(end) for end in ("f", "", "c", last)] == [False, False, False, True]


def test_a_search_that_was_not_finished_continues_where_it_was() -> None:
    turns, search = Turns(9), Search("")
    search.advance("f")

    turns.record([], 4, search)

    assert turns.after == "f"


def test_a_search_for_no_runs_does_not_change_the_turn() -> None:
    turns = Turns(9)
    turns.after = "b"

    turns.record([], 0, Search(turns.after))

    assert turns.after == "b"


def with_priority(principal: str, *priorities: int) -> list[WaitingRun]:
    thread = ThreadId(f"{principal:0>44}")
    return [
        WaitingRun(RunId(thread, n + 1), 0, principal, priority=priority)
        for n, priority in enumerate(priorities)
    ]


def test_a_principal_has_more_runs_in_a_turn_the_higher_their_priority_is() -> None:
    runs = [*waiting(a=3), *with_priority("b", 2, 2, 2, 2, 0, 0)]

    assert names(Turns(9).order(runs, choice=1)) == "a1 b1 b2 b3 a2 b4 b5 a3 b6"


def test_no_priority_keeps_others_from_their_turn() -> None:
    turns, runs, taken = Turns(99), [*with_priority("a", *[9] * 200), *waiting(b=9)], list[str]()
    for _ in range(9):
        chosen = turns.choose(turns.order(runs, choice=1), 16, {})
        turns.record(chosen, 16, Search(turns.after))
        runs = [one for one in runs if one not in chosen]
        taken += [one.principal for one in chosen]

    assert taken.count("b") == 9


def test_a_run_that_has_waited_longer_goes_first() -> None:
    first = [
        Turns(9).order(
            [one._replace(turn_us=60_000_000 * (3 - one.run.ordinal)) for one in waiting(a=3)],
            choice=3,
        )
        for _ in range(20)
    ]

    assert {names(order) for order in first} == {"a3 a2 a1"}
