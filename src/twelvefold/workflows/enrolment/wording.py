"""Parses course codes and searches, and formats rows for the model.

No SQL. Money is formatted in dollars, a time of day as `18:00`, a weekday by name.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Row = Mapping[str, Any]
Meetings = Mapping[str, list[str]]
"""The meeting times of each section, by its id."""

WEEKDAYS = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_SEARCH_WORDS = 4
ANY_PRICE_CENTS = 2**31 - 1
_NO_WORD = ":"
_CODE = re.compile(r"([A-Z/]+)[\s-]*(\d.*)")
_STOP_WORDS = {
    *("a", "about", "all", "an", "and", "any", "class", "course", "courses", "for", "i", "in"),
    *("learn", "learning", "like", "me", "my", "of", "on", "or", "please", "some", "something"),
    *("the", "to", "want", "with", "would"),
}


def course_key(written: str) -> str:
    """Return a course code or section id in the form of the tables: `db 101` becomes DB-101."""
    bare = "-".join(written.upper().split())
    match = _CODE.fullmatch(bare)
    return f"{match[1]}-{match[2]}" if match else bare


def search_text(*texts: str) -> str:
    """Return the text to search: the words in lower case, with a blank before each."""
    return "".join(f" {word}" for word in _words(" ".join(texts)))


def search_values(text: str, topic: str, highest_price_usd: float | None) -> Json:
    """Return the parameters of `find_courses`. A word matches by its stem: databases, database."""
    words = [word for word in _words(text) if word not in _STOP_WORDS][:MAX_SEARCH_WORDS]
    stems = [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words]
    patterns = [f"% {stem}%" for stem in stems] + [_NO_WORD] * (MAX_SEARCH_WORDS - len(stems))
    topic = " ".join(topic.lower().split())
    return {
        **{f"word{number}": pattern for number, pattern in enumerate(patterns)},
        "first": f" {stems[0]}" if stems else "",
        "words": len(stems),
        "topic": topic,
        "topic_like": f"%{topic}%",
        "highest_cents": _cents(highest_price_usd),
    }


def is_topic(written: str, topics: Iterable[Row]) -> bool:
    """Return whether the text is the code of a department, or its name or a part of that."""
    topic = " ".join(written.lower().split())
    return any(topic in row["name"].lower() or topic == row["code"].lower() for row in topics)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _cents(usd: float | None) -> int:
    # The negated comparison also covers nan.
    if usd is None or not usd * 100 < ANY_PRICE_CENTS:
        return ANY_PRICE_CENTS
    return max(int(usd * 100), -1)


def meetings_by_section(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Format rows of meetings as `Mon 18:00-19:30`, by section."""
    by_section: dict[str, list[str]] = {}
    for row in rows:
        by_section.setdefault(row["section_id"], []).append(meeting_text(row))
    return by_section


def meeting_text(row: Row) -> str:
    day = WEEKDAYS[row["weekday"]]
    return f"{day} {_time_text(row['starts_minute'])}-{_time_text(row['ends_minute'])}"


def _time_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def found_course(row: Row) -> Json:
    """Format a course of a list; `price_usd` is the price of its cheapest section."""
    return {
        "code": row["code"],
        "title": row["title"],
        "topic": row["topic"],
        "price_usd": _usd(row["price_cents"]),
        "starts": row["starts_on"],
        "sections": row["sections"],
        "seats_left": int(row["seats_left"]),  # MySQL returns a sum of integers as a decimal
    }


def whole_course(
    course: Row, sections: Iterable[Row], meetings: Meetings, prerequisites: Iterable[Row]
) -> Json:
    """Format a course with its sections and prerequisites."""
    return {
        "code": course["code"],
        "title": course["title"],
        "topic": course["topic"],
        "description": course["description"],
        "credits": course["credit_hundredths"] / 100,
        "prerequisites": [_prerequisite(row) for row in prerequisites],
        "prerequisite_note": course["prerequisite_note"],
        "sections": [offered_section(row, meetings) for row in sections],
    }


def _prerequisite(row: Row) -> Json:
    if row["completed"]:
        return {"code": row["code"], "student": "completed it"}
    if row["enrolled_until"]:
        return {"code": row["code"], "student": f"takes it until {row['enrolled_until']}"}
    return {"code": row["code"], "student": "has not taken it"}


def offered_section(row: Row, meetings: Meetings) -> Json:
    """Format a section that can be booked."""
    return {
        "section": row["id"],
        "course": row["course_code"],
        "title": row["title"],
        "price_usd": _usd(row["price_cents"]),
        "starts": row["starts_on"],
        "ends": row["ends_on"],
        "meets": meetings.get(row["id"], []),
        "seats_left": row["seats_left"],
        "capacity": row["capacity"],
        "status": row["status"],
    }


def enrolled(section: Row) -> Json:
    """Format the section of a new enrolment."""
    return enrolment({**section, "section_id": section["id"]})


def enrolment(row: Row) -> Json:
    """Format an enrolment."""
    return {
        "course": row["course_code"],
        "section": row["section_id"],
        "title": row["title"],
        "price_usd": _usd(row["price_cents"]),
        "starts": row["starts_on"],
        "ends": row["ends_on"],
    }


def _usd(cents: int) -> float:
    return cents / 100


def email_of(student: str) -> str:
    """Return a new student's address: the id if it is an address, otherwise a reserved one."""
    if re.fullmatch(r"[^@\s]+@[^@\s]+", student):
        return student
    local = re.sub(r"[^a-z0-9.]+", "-", student.lower()).strip("-.")
    return f"{local or 'student'}@students.example"
