"""Conditions on ids that follow each other in an index: a range costs a server less than a list."""

import re
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

_LISTED = re.compile(r"([\w.]+) IN \(:threads\)")


class IdRange(NamedTuple):
    """All ids from the first to the last, both included."""

    first: str
    last: str


def ranges_of(chosen: Collection[str], all_ids: Sequence[str]) -> list[IdRange]:
    """As few ranges as have the chosen ids and none of the others; `all_ids` are in order."""
    chosen = set(chosen)
    ranges = []
    for is_chosen, group in groupby(all_ids, chosen.__contains__):
        if is_chosen:
            ids = list(group)
            ranges.append(IdRange(ids[0], ids[-1]))
    return ranges


def single_ranges(ids: Collection[str]) -> list[IdRange]:
    """Each id as a range of its own."""
    return [IdRange(one, one) for one in ids]


def in_ranges(statement: str, ranges: Sequence[IdRange]) -> tuple[str, dict[str, str]]:
    """The statement with these ranges where it has `column IN (:threads)`."""
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
