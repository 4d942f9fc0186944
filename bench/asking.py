"""The request that every contender sends to the model."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.academy import COURSES


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
    """Return the message of a student."""
    return f"Please enrol me in {course} and send me the welcome mail."


def course(number: int) -> str:
    """Return the course of the run with this number."""
    return f"CR-{number % COURSES + 1}"
