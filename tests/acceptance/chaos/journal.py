"""The journals of a scene's runs, read as rows: what they say of each call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One entry."""

    thread: str
    position: int
    type: str
    body: Mapping[str, Any]
    at_us: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "JournalLine":
        body = msgspec.json.decode(row["body"])
        return cls(row["thread_id"], row["position"], row["type"], body, row["at_us"])


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
