"""Round-robin between principals: whose waiting runs a worker takes next, and how many.

A worker's memory alone: each worker goes round for itself.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from twelvefold.core.ids import RunId
from twelvefold.core.ports import WaitingRun

RESERVE = 8
"""By default one principal may have all of a worker's places but one in so many."""


def default_share(max_runs: int) -> int:
    """How many runs of one principal a worker drives at once, of `max_runs`."""
    return max(1, max_runs - max(1, max_runs // RESERVE))


class Turns:
    """Which runs are next. `share`: runs of one principal in hand at once, at most."""

    def __init__(self, share: int) -> None:
        self._share = share
        self.after = ""
        """The principal that had the last turn; "" before the first one's."""

    def in_turn(self, waiting: Iterable[WaitingRun], choice: int) -> list[WaitingRun]:
        """The first run of each principal, then the second of each, and so on.

        The principals behind `after` come first. The first `choice` runs of each principal are in
        random order, since other workers have found the same ones.
        """
        lines: dict[str, list[WaitingRun]] = {}
        for one in waiting:
            lines.setdefault(one.principal, []).append(one)
        order = sorted(lines, key=lambda principal: (principal <= self.after, principal))
        rounds = zip_longest(*(_shuffled(lines[principal], choice) for principal in order))
        return [one for turn in rounds for one in turn if one is not None]

    def chosen(
        self, in_turn: Sequence[WaitingRun], few: int, in_hand: Mapping[RunId, str]
    ) -> list[WaitingRun]:
        """The first `few` that leave no principal with more than its share."""
        held = Counter(in_hand.values())
        chosen: list[WaitingRun] = []
        for one in in_turn:
            if len(chosen) == few:
                break
            if held[one.principal] < self._share:
                held[one.principal] += 1
                chosen.append(one)
        return chosen

    def took(self, chosen: Sequence[WaitingRun], few: int, search: "Search") -> None:
        """Note whose turn was last: that of the last run if all places were filled."""
        if few:
            self.after = chosen[-1].principal if len(chosen) == few else search.after


class Search:
    """One search through the principals that wait, in several statements.

    It begins behind `start` and ends there, "" being the beginning. `after` is where the next
    statement begins, "" once all were read.
    """

    def __init__(self, start: str) -> None:
        self._start = start
        self._from_beginning = not start
        self.after = start

    def is_over(self, end: str) -> bool:
        """Note the last principal of a statement, "" if there is none behind it."""
        over = self._from_beginning and (not end or end >= self._start > "")
        self._from_beginning = self._from_beginning or not end
        self.after = "" if over else end
        return over


def _shuffled(line: list[WaitingRun], choice: int) -> list[WaitingRun]:
    first = line[:choice]
    random.shuffle(first)
    return first + line[choice:]
