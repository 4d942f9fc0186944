"""The journals of a scene's runs, read as rows: what they say of each call."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One entry. `at_us` is by the clock of this process: that of a worker may be an hour off."""

    thread: str
    position: int
    type: str
    body: Mapping[str, Any]
    at_us: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "JournalLine":
        body = msgspec.json.decode(row["body"])
        return cls(
            row["thread_id"], row["position"], row["type"], body, _on_this_clock(row["at_us"])
        )


def _on_this_clock(at_us: int) -> int:
    """The time without whole hours before or after now: no scene lasts half an hour."""
    return at_us - round((at_us - time.time_ns() // 1000) / HOUR_US) * HOUR_US


def tickets(journal: Sequence[JournalLine]) -> dict[str, str]:
    """The ticket of each call of a thread, by the call's id."""
    found: dict[str, str] = {}
    for line in journal:
        if line.type != "ModelReplied":
            continue
        made = [item for item in line.body["items"] if item.get("type") == "function_call"]
        for index, item in enumerate(made):
            found[f"{line.position}.{index}"] = msgspec.json.decode(item["arguments"])["ticket"]
    return found


def ticket_of(journal: Sequence[JournalLine], call: str) -> str:
    return tickets(journal)[call]
