"""Ranges of ids that follow each other in an index; they cost a server less than a list."""

import re
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

_LISTED = re.compile(r"([\w.]+) IN \(:threads\)")


class IdRange(NamedTuple):
    """All ids from the first to the last, including both."""

    first: str
    last: str


def ranges_of(chosen: Collection[str], all_ids: Sequence[str]) -> list[IdRange]:
    """Return the fewest ranges that hold the chosen ids and no other; `all_ids` are in order."""
    chosen = set(chosen)
    ranges = []
    for is_chosen, group in groupby(all_ids, chosen.__contains__):
        if is_chosen:
            ids = list(group)
            ranges.append(IdRange(ids[0], ids[-1]))
    return ranges


def single_ranges(ids: Collection[str]) -> list[IdRange]:
    """Return one range for each id."""
    return [IdRange(one, one) for one in ids]


def in_ranges(statement: str, ranges: Sequence[IdRange]) -> tuple[str, dict[str, str]]:
    """Replace `column IN (:threads)` by the ranges; return the statement and the parameters."""
    values: dict[str, str] = {}
    parts = []
    for number, (first, last) in enumerate(ranges):
        values[f"first{number}"] = first
        if first == last:
            parts.append(f"{{0}} = :first{number}")
        else:
            values[f"last{number}"] = last
            parts.append(f"{{0}} BETWEEN :first{number} AND :last{number}")
    condition = f"({' OR '.join(parts)})"
    return _LISTED.sub(lambda found: condition.format(found[1]), statement), values
