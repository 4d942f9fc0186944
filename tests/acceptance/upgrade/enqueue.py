"""Queues runs as a process of the release that is imported.

    python -m tests.acceptance.upgrade.enqueue WORKFLOW CASE=KIND…
    python -m tests.acceptance.upgrade.enqueue WORKFLOW --until FILE PREFIX

The second form starts a run every `PAUSE_S` until the file exists, at least `FEWEST`, and prints
their number.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from tests.acceptance.upgrade.model import message
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import RunRequest, enqueue_run

PAUSE_S = 0.3
FEWEST = 20


def case_of(prefix: str, number: int) -> str:
    """Return the case of a number: each tenth run waits for an approval."""
    return f"{prefix}{number}={'refunded' if number % 10 == 5 else 'plain'}"


async def _enqueue(workflow: str, cases: Iterable[str]) -> None:
    async with open_services(Settings.from_environ(os.environ), with_model=False) as services:
        for text in cases:
            case, _, kind = text.partition("=")
            said = {"type": "message", "role": "user", "content": message(case, kind)}
            await enqueue_run(services, RunRequest(workflow, Principal("local"), [said]))
            await asyncio.sleep(PAUSE_S)


def _until(file: Path, prefix: str) -> Iterator[str]:
    for number in count():
        if file.exists() and number >= FEWEST:
            print(number)
            return
        yield case_of(prefix, number)


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    cases = _until(Path(given[1]), given[2]) if given[0] == "--until" else given
    asyncio.run(_enqueue(name, cases))
