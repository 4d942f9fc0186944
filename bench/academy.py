"""The three tools of a run, for contenders with and without a database: four statements in all.

It does not import Twelvefold, which the other contenders must not load.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

COURSES = 500
SEATS = 1_000_000
SCHEMA = (
    "create table courses (code varchar(32) not null primary key, title varchar(100) not null,"
    " description text not null, price_cents int not null, seats_left int not null)",
    "create table enrolments (id bigint not null auto_increment primary key,"
    " student varchar(255) not null, course_code varchar(32) not null, key (student))",
    "create table mails (id bigint not null auto_increment primary key,"
    " recipient varchar(255) not null, subject varchar(255) not null)",
)
COURSE = "select code, title, description, price_cents, seats_left from courses where code = :code"
TAKE_SEAT = "update courses set seats_left = seats_left - 1 where code = :code and seats_left > 0"
ENROL = "insert into enrolments (student, course_code) values (:student, :code)"
SEND_MAIL = "insert into mails (recipient, subject) values (:recipient, :subject)"
Json = dict[str, Any]


class Database(Protocol):
    """The methods of a transaction that a tool needs; Twelvefold's `Transaction` has them."""

    async def fetch_one(self, statement: str, /, **values: Any) -> Mapping[str, Any] | None: ...
    async def execute(self, statement: str, /, **values: Any) -> int: ...


Begin = Callable[[], AbstractAsyncContextManager[Database]]


class InMemory:
    """A database that is a list."""

    def __init__(self) -> None:
        self._rows: list[Json] = []

    async def fetch_one(self, statement: str, /, **values: Any) -> Json:
        return course_row(values["code"])

    async def execute(self, statement: str, /, **values: Any) -> int:
        self._rows.append(values)
        return 1


def course_row(code: str) -> Json:
    return {
        "code": code,
        "title": code.replace("CR-", "Course "),
        "description": "What everybody should know. No knowledge is needed for it.",
        "price_cents": 40_000,
        "seats_left": SEATS,
    }


async def get_course(db: Database, code: str, _: str) -> Json:
    row = await db.fetch_one(COURSE, code=code)
    assert row
    return dict(row)


async def enrol(db: Database, code: str, student: str) -> Json:
    assert await db.execute(TAKE_SEAT, code=code)
    await db.execute(ENROL, student=student, code=code)
    return enrolled(code)


async def send_welcome(db: Database, code: str, student: str) -> Json:
    mail = welcome_mail(code, student)
    await db.execute(SEND_MAIL, **mail)
    return mail


TOOLS: dict[str, Callable[[Database, str, str], Awaitable[Json]]] = {
    "get_course": get_course,
    "enrol": enrol,
    "send_welcome": send_welcome,
}


async def call(begin: Begin, tool: str, arguments: str, student: str) -> str:
    """Run a tool in a transaction of its own and return what the model reads."""
    code = msgspec.json.decode(arguments)["course_code"]
    async with begin() as db:
        result = await TOOLS[tool](db, code, student)
    return msgspec.json.encode(result).decode()


def enrolled(code: str) -> Json:
    return {"course": code, "starts": "2027-01-04", "ends": "2027-01-29", "price_usd": 400.0}


def welcome_mail(code: str, student: str) -> Json:
    return {"recipient": f"{student}@students.example", "subject": f"Welcome to {code}"}
