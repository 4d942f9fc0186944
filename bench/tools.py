"""The three tools for contenders that keep nothing: rows are entries of a dict.

What they answer is what Twelvefold's workflow answers, so that the model reads as much.
"""

import json
from typing import Any

from bench.asking import COURSES

_COURSES = {f"CR-{number}": 1_000_000 for number in range(1, COURSES + 1)}
_ENROLLED: dict[tuple[str, str], bool] = {}
_OUTBOX: list[str] = []


def call(tool: str, arguments: str, student: str) -> str:
    """Run a tool by name and return what the model reads."""
    code = json.loads(arguments)["course_code"]
    return json.dumps(TOOLS[tool](code, student))


def get_course(code: str, _: str) -> dict[str, Any]:
    section = {**_section(code), "meets": [], "seats_left": _COURSES[code], "status": "open"}
    return {
        **{"code": code, "title": _title(code), "topic": "Courses", "credits": 1.0},
        "description": "What everybody should know.\n\nNo knowledge is needed for it.",
        "prerequisites": [],
        "prerequisite_note": "",
        "sections": [{**section, "capacity": 1_000_000}],
    }


def enrol(code: str, student: str) -> dict[str, Any]:
    assert (code, student) not in _ENROLLED
    _COURSES[code] -= 1
    _ENROLLED[code, student] = False
    return _section(code)


def send_welcome(code: str, student: str) -> dict[str, Any]:
    assert not _ENROLLED[code, student]
    _ENROLLED[code, student] = True
    _OUTBOX.append(f"Welcome to {_title(code)}")
    return {"sent_to": f"{student}@students.example", "course": code, "title": _title(code)}


TOOLS = {"get_course": get_course, "enrol": enrol, "send_welcome": send_welcome}


def _section(code: str) -> dict[str, Any]:
    return {
        **{"course": code, "section": f"{code}-A", "title": _title(code), "price_usd": 400.0},
        **{"starts": "2027-01-04", "ends": "2027-01-29"},
    }


def _title(code: str) -> str:
    return code.replace("CR-", "Course ")
