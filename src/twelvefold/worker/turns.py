"""Round-robin between principals: whose waiting runs a worker takes next, and how many.

The turns are in the worker's memory: each worker goes round on its own.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from twelvefold.core import RunId, WaitingRun

MIXED_US = 60_000_000
"""Runs that have waited about as long are taken in any order. This is the head start of a
priority: a run with a higher one goes first."""
TURN = 2_520
"""Divisible by 1 to 10: a run with priority p takes 1 / (1 + p) of a turn."""
RESERVED_PART = 8
"""By default one in so many slots of a worker is reserved for other principals."""


def default_share(max_runs: int) -> int:
    """Return how many of `max_runs` a worker drives at most for one principal."""
    return max(1, max_runs - max(1, max_runs // RESERVED_PART))


class Turns:
    """Orders runs by turns; `share` is how many runs of one principal are held at most."""

    def __init__(self, share: int) -> None:
        self._share = share
        self.after = ""
        """The principal that had the last turn; "" before the first turn."""

    def order(self, waiting: Iterable[WaitingRun], choice: int) -> list[WaitingRun]:
        """Return the first run of each principal, then the second of each, and so on.

        A run with a priority takes a part of a turn, so a principal has several of them in a turn.
        The principals after `after` come first. The first `choice` runs of each principal are in
        random order, since other workers have found the same ones; but a run goes before those
        that have waited about a minute less.
        """
        queues: dict[str, list[WaitingRun]] = {}
        for one in waiting:
            queues.setdefault(one.principal, []).append(one)
        principals = sorted(queues, key=lambda principal: (principal <= self.after, principal))
        rounds = zip_longest(*(_rounds(_shuffled(queues[one], choice)) for one in principals))
        return [one for turn in rounds for runs in turn for one in runs or ()]

    def choose(
        self, ordered: Sequence[WaitingRun], limit: int, held: Mapping[RunId, str]
    ) -> list[WaitingRun]:
        """Return the first `limit` runs that leave no principal with more than its share.

        `held` maps the runs that are held already to their principals.
        """
        counts = Counter(held.values())
        chosen: list[WaitingRun] = []
        for one in ordered:
            if len(chosen) == limit:
                break
            if counts[one.principal] < self._share:
                counts[one.principal] += 1
                chosen.append(one)
        return chosen

    def record(self, chosen: Sequence[WaitingRun], limit: int, search: "Search") -> None:
        """Set the last turn: that of the last chosen run if all slots were filled."""
        if limit:
            self.after = chosen[-1].principal if len(chosen) == limit else search.after


class Search:
    """One search through the principals that have waiting runs, in several statements.

    It begins after `start` and ends there, "" being the beginning. `after` is where the next
    statement begins, "" when all were read.
    """

    def __init__(self, start: str) -> None:
        self._start = start
        self._from_beginning = not start
        self.after = start

    def advance(self, end: str) -> bool:
        """Return whether the search is over after a statement.

        `end` is the last principal that it read, "" if there is none after it.
        """
        is_over = self._from_beginning and (not end or end >= self._start > "")
        self._from_beginning = self._from_beginning or not end
        self.after = "" if is_over else end
        return is_over


def _shuffled(queue: list[WaitingRun], choice: int) -> list[WaitingRun]:
    first = queue[:choice]
    random.shuffle(first)
    first.sort(key=lambda one: one.turn_us // MIXED_US)
    return first + queue[choice:]


def _rounds(queue: Iterable[WaitingRun]) -> list[list[WaitingRun]]:
    """Return the runs of one principal by turns: one, or 1 + priority of those with a priority."""
    rounds: list[list[WaitingRun]] = []
    used = 0
    for one in queue:
        if len(rounds) <= used // TURN:
            rounds.append([])
        rounds[-1].append(one)
        used += TURN // (1 + one.priority)
    return rounds
