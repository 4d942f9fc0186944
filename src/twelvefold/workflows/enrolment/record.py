"""Validates one line of a course catalogue and converts it to rows.

The format is documented in `docs/reference/catalogue.md`. The import of Pydantic takes a fifth of
a second, so that only `seed` imports this module, when it runs.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from twelvefold.workflows.enrolment.wording import course_key, search_text

PRICE_CENTS_PER_CREDIT = 40_000
_KINDS = {"Lab": "L", "Discussion": "D", "FLAC": "F"}
"""Types of section with a separate course code: a student may take a class and its lab."""
_WEEKDAYS = {"Mo": 1, "Tu": 2, "We": 3, "Th": 4, "Fr": 5, "Sa": 6, "Su": 7}
_WHOLE_YEAR = ("09-01", "08-31")
_TERM_DATES = {
    1: ("09-07", "12-20"),
    2: ("01-04", "01-29"),
    3: ("02-08", "05-25"),
    4: ("06-07", "07-16"),
    5: ("07-19", "08-27"),
}
"""Month and day of a term's first and last day, by the last digit of the term."""

Word = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[!-~]+$", max_length=12),
]
Id = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    StringConstraints(strip_whitespace=True, pattern=r"^[!-~]+$", max_length=30),
    AfterValidator(course_key),
]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Note = Annotated[
    str, BeforeValidator(lambda value: "" if value is False else value), Field(max_length=1000)
]
Time = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]


class Offering(BaseModel):
    """One weekly meeting."""

    day: Literal["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    start: Time
    end: Time

    @model_validator(mode="after")
    def ends_after_start(self) -> "Offering":
        if self.end <= self.start:
            raise ValueError(f"ends at {self.end}, not after its start at {self.start}")
        return self

    @property
    def row(self) -> tuple[int, int, int]:
        """Weekday, start and end, both in minutes since midnight."""
        return _WEEKDAYS[self.day], _minute(self.start), _minute(self.end)


class Record(BaseModel):
    """One section of a course. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    clbid: Id
    crsid: Id = ""
    department: Word
    number: Word
    term: Annotated[int, Field(ge=10_000, le=99_999, strict=True)]
    type: str = ""
    name: Title
    credits: Annotated[float, Field(ge=-100, le=100)]
    status: Literal["O", "C"]
    enrolled: Count
    max: Count
    title: Title | None = None
    description: list[str] | str = ""
    prerequisites: Note = ""
    requires: list[Id] = []
    offerings: list[Offering] = []
    department_name: Annotated[str, Field(max_length=100)] = ""
    price_cents: Annotated[int, Field(ge=0, le=100_000_000, strict=True)] | None = None
    starts: date | None = None
    ends: date | None = None

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, record: object) -> object:
        if not isinstance(record, Mapping):
            return record
        return {field: value for field, value in record.items() if value is not None}

    @field_validator("description")
    @classmethod
    def joined(cls, description: list[str] | str) -> str:
        text = description if isinstance(description, str) else "\n\n".join(description)
        if len(text) > 10_000:
            raise ValueError(f"has {len(text)} characters; at most 10000 are allowed")
        return text

    @model_validator(mode="after")
    def ends_after_start(self) -> "Record":
        if self.ends_on < self.starts_on:
            raise ValueError(f"ends on {self.ends_on}, before its start on {self.starts_on}")
        return self

    @property
    def course_code(self) -> str:
        return course_key(f"{self.department}-{self.number}{_KINDS.get(self.type, '')}")

    @property
    def starts_on(self) -> str:
        return self.starts.isoformat() if self.starts else self._term_date(0)

    @property
    def ends_on(self) -> str:
        return self.ends.isoformat() if self.ends else self._term_date(1)

    def _term_date(self, index: int) -> str:
        year, digit = divmod(self.term, 10)
        day = _TERM_DATES.get(digit, _WHOLE_YEAR)[index]
        # The academic year starts in September: earlier months are in the next calendar year.
        return f"{year + (day < '09')}-{day}"

    @property
    def department_row(self) -> tuple[object, ...]:
        return self.department, self.department_name or self.department

    def course_row(self, topics: Iterable[str]) -> tuple[object, ...]:
        """Return the row of the course. Its search text includes the topics of its sections."""
        title = self.title or self.name
        names = dict.fromkeys((self.course_code, self.department_name, title, *topics))
        return (
            *(self.course_code, self.department, title, self.description, self.prerequisites),
            *(max(round(self.credits * 100), 0), search_text(*names, str(self.description))),
        )

    @property
    def section_row(self) -> tuple[object, ...]:
        seats_left = max(self.max - self.enrolled, 0)
        status = "open" if self.status == "O" else "closed"
        return (
            *(self.clbid, self.course_code, self.crsid, self.name),
            *(self.term, self.starts_on, self.ends_on),
            *(self._price_cents, self.max, seats_left, status),
        )

    @property
    def _price_cents(self) -> int:
        if self.price_cents is not None:
            return self.price_cents
        return max(round(self.credits * PRICE_CENTS_PER_CREDIT), 0)

    @property
    def prerequisite_rows(self) -> Iterator[tuple[object, ...]]:
        return ((self.course_code, needed) for needed in sorted(set(self.requires)))

    @property
    def meeting_rows(self) -> Iterator[tuple[object, ...]]:
        # A meeting in two rooms is one row.
        return ((self.clbid, *time) for time in sorted({one.row for one in self.offerings}))


def _minute(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)
