"""Parameters: the Python values that SQL takes, and their forms."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

from twelvefold.core.ports import CallKey
from twelvefold.errors import StoreRefused
from twelvefold.services.store.sql_text import convert_value

NOON = datetime(2026, 2, 28, 12, 30, 1, 250)  # noqa: DTZ001 - without an offset it is taken as it is


class Colour(StrEnum):
    RED = "red"


class OldColour(str, Enum):  # noqa: UP042 - the kind that `str()` has the name of
    RED = "red"


class Size(IntEnum):
    BIG = 3


class Day(date):
    """A subclass of date."""


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 2**63, 10**64, 0.1, -1e300, "", "é😀", b"", b"\xff"),
        *(Decimal("12.50"), date(2026, 2, 28), NOON, time(12, 30), timedelta(days=-1, seconds=3)),
    ],
)
def test_a_built_in_value_is_unchanged(value: object) -> None:
    taken = convert_value("x", value)

    assert (taken, type(taken)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (CallKey("k"), "k"),
        (Colour.RED, "red"),
        (OldColour.RED, "red"),
        (Size.BIG, 3),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        (Day(2026, 2, 28), date(2026, 2, 28)),
        (NOON.replace(tzinfo=UTC), NOON),
        (NOON.replace(tzinfo=timezone(timedelta(hours=2))), NOON - timedelta(hours=2)),
    ],
)
def test_a_value_of_a_subclass_becomes_built_in(value: object, plain: object) -> None:
    taken = convert_value("x", value)

    assert (taken, type(taken)) == (plain, type(plain))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": 1}, "is a dict; SQL takes None, bool, int"),
        ([1], "is a list"),
        ((1,), "is a tuple"),
        (object(), "is a object"),
        (time(12, tzinfo=UTC), "is a time"),
        ("a\ud83d", "half of a surrogate pair"),
        (float("nan"), "is nan"),
        (float("-inf"), "is -inf"),
        (Decimal("NaN"), "is NaN"),
        (10**65, "more than 65 digits"),
    ],
)
def test_a_type_without_one_form_in_sql_is_refused_by_name(value: Any, why: str) -> None:
    with pytest.raises(StoreRefused, match=f"^parameter 'x'.* {why}"):
        convert_value("x", value)
