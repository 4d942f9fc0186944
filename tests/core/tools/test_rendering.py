import array
import itertools
import sqlite3
import types
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from ipaddress import ip_address
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from uuid import UUID

import attrs
import msgspec
import pytest
from pydantic import BaseModel, RootModel

from twelvefold.core.tools.rendering import render_result

DAY = date(2026, 11, 5)


class Size(Enum):
    SMALL = "s"
    ODD = object()


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    YES = "yes"


class Pair(NamedTuple):
    name: str
    price: Decimal


@dataclass
class Seat:
    row: int
    photo: bytes = b"\xff"


@attrs.define
class Box:
    seats: list[Seat]


class Stand(msgspec.Struct):
    size: Size


class Ticket(BaseModel):
    day: date
    photo: bytes = b"x"


class Money:
    def __str__(self) -> str:
        return "3 EUR"


class LaterDay(date):
    """A date of a library that replaces the clock."""


class Scalar:
    """The attributes of NumPy's scalars and arrays."""

    dtype = "int64"

    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "(no result)"),
        ("", ""),
        ("as it is", "as it is"),
        (Word.YES, '"yes"'),
        (True, "true"),
        ("\ud83d", "\ud83d"),
        ({"a": "\ud83d"}, '{"a": "\\ud83d"}'),
        (10**30, "1" + "0" * 30),
        (0.5, "0.5"),
        (float("nan"), '"NaN"'),
        ([float("inf"), -float("inf")], '["Infinity","-Infinity"]'),
        (Decimal("19.90"), '"19.90"'),
        (Decimal("0E-10"), '"0.0000000000"'),
        (Decimal("0E+3"), '"0"'),
        (Decimal("-0.00"), '"0.00"'),
        (Decimal("1E+3"), '"1000"'),
        (Decimal("1E-7"), '"0.0000001"'),
        (Decimal("-1.5E+4"), '"-15000"'),
        (Decimal("1E+999999"), '"1E+999999"'),
        (Decimal("NaN"), '"NaN"'),
        (b"\x01", "1"),
        ({"active": b"\x00"}, '{"active":0}'),
        (b"", '""'),
        ("ä\n".encode(), '"ä\\n"'),
        (b"\xff\x00", '"0xff00"'),
        (b"\x00\x05", '"0x0005"'),
        (bytearray(b"abc"), '"abc"'),
        (memoryview(b"abc"), '"abc"'),
        (Path("/srv/a.txt"), '"/srv/a.txt"'),
        ([PurePosixPath("a") / "b"], '["a/b"]'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Size.SMALL, '"s"'),
        (Size.ODD, '"ODD"'),
        ({Number.ONE: Number.ONE}, '{"1":1}'),
        (DAY, '"2026-11-05"'),
        (LaterDay(2026, 11, 5), '"2026-11-05"'),
        (datetime(2026, 11, 5, 9, 30, tzinfo=UTC), '"2026-11-05T09:30:00Z"'),
        (time(9, 30), '"09:30:00"'),
        (timedelta(hours=9, minutes=30), '"09:30:00"'),
        (timedelta(days=3, microseconds=5), '"72:00:00.000005"'),
        (-timedelta(minutes=1), '"-00:01:00"'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a"}), '["a","b"]'),
        ({(1, "a"), (0, "b")}, '[[0,"b"],[1,"a"]]'),
        ((1, "a"), '[1,"a"]'),
        (range(3), "[0,1,2]"),
        (deque([1, 2]), "[1,2]"),
        (array.array("i", [1, 2]), "[1,2]"),
        ({"a": 1}.items(), '[["a",1]]'),
        ({"a": 1}.keys(), '["a"]'),
        ({"a": 1}.values(), "[1]"),
        ((n * n for n in range(3)), "[0,1,4]"),
        (map(str, [1]), '["1"]'),
        (Counter("aab"), '{"a":2,"b":1}'),
        (OrderedDict(a=1), '{"a":1}'),
        (types.MappingProxyType({"a": 1}), '{"a":1}'),
        ({None: 1, True: 2, 2.5: 3}, '{"null":1,"true":2,"2.5":3}'),
        ({1: "a", ("x", 2): "b", DAY: "c"}, '{"1":"a","x, 2":"b","2026-11-05":"c"}'),
        ({Size.SMALL: 1, Decimal("1.0"): 2, b"k": 3}, '{"s":1,"1.0":2,"k":3}'),
        ({1: "a", "1": "b"}, '[[1,"a"],["1","b"]]'),
        ({Point(1, 2): 3}, '{"{\\"x\\": 1, \\"y\\": 2}":3}'),
        (Pair("tea", Decimal("0E-2")), '{"name":"tea","price":"0.00"}'),
        ([Point(1, 2)], '[{"x":1,"y":2}]'),
        (Seat(3), '{"row":3,"photo":"0xff"}'),
        (Box([Seat(3)]), '{"seats":[{"row":3,"photo":"0xff"}]}'),
        (Stand(Size.SMALL), '{"size":"s"}'),
        (Ticket(day=DAY), '{"day":"2026-11-05","photo":"x"}'),
        (Ticket(day=DAY, photo=b"\xff"), '{"day":"2026-11-05","photo":"0xff"}'),
        ({"all": [Ticket(day=DAY)]}, '{"all":[{"day":"2026-11-05","photo":"x"}]}'),
        (RootModel[list[int]]([1]), "[1]"),
        (Scalar(7), "7"),
        ([Scalar([[1.5, float("nan")]])], '[[[1.5,"NaN"]]]'),
        (Fraction(1, 3), '"1/3"'),
        (ip_address("127.0.0.1"), '"127.0.0.1"'),
        (Money(), '"3 EUR"'),
        (KeyError("no order"), "\"KeyError: 'no order'\""),
        (TimeoutError(), '"TimeoutError"'),
        (ExceptionGroup("two", [ValueError("a")]), '"ExceptionGroup: two (1 sub-exception)"'),
    ],
    ids=map(str, itertools.count()),  # the same in each process of a run
)
def test_a_result_becomes_readable_text(result: object, text: str) -> None:
    assert render_result(result) == text


def test_an_endless_iterator_is_read_up_to_a_limit() -> None:
    assert render_result(count()).startswith("[0,1,2,")
    assert render_result(count()).endswith(",9999]")


class Odd:
    """An object without a text form."""


@pytest.mark.parametrize(
    "result", [Odd(), {"a": [Odd()]}, Odd, Seat, {Odd(): 1}, render_result, object()]
)
def test_a_value_without_a_json_form_is_an_error(result: object) -> None:
    with pytest.raises(TypeError, match="has no form as JSON"):
        render_result(result)


def test_a_row_of_sqlite3_becomes_its_columns() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT 1 AS id, 'tea' AS name").fetchall()
    connection.close()

    assert render_result(rows) == '[{"id":1,"name":"tea"}]'
