"""What every contender sends to the model beside the conversation, so that all send the same."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Asking:
    """Instructions, and tools as the Responses API has them."""

    instructions: str
    tools: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


def wish(course: str) -> str:
    """What a student says."""
    return f"Please enrol me in {course} and send me the welcome mail."


def course(number: int) -> str:
    """The course of the run with this number; there are `COURSES` of them."""
    return f"CR-{number % COURSES + 1}"


COURSES = 500
