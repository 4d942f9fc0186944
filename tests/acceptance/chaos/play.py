"""One scene from its first run to its verdict."""

import asyncio
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.enqueue import enqueue
from tests.acceptance.chaos.people import People
from tests.acceptance.chaos.scenes import OwnStage, Scene
from tests.acceptance.chaos.stage import arena
from tests.acceptance.chaos.verdict import Verdict, evidence, journal_text, judged

PLAY_S = 600.0
"""How long arrival and faults may take."""
SETTLE_S = 60.0
"""How long nothing may change after the last fault while a run or a mail is not finished."""
LONGEST_SETTLE_S = 400.0
FIRST_RUNS_S = 3.0
ENTRIES = "select count(*) from events"
OPEN = (
    "select (select count(*) from runs where finished_at is null)"
    " + (select count(*) from outbox where sent_at is null and dead_at is null)"
)


async def play(scene: Scene, runs: int, chance: random.Random, keep: Path | None) -> Verdict:
    """Play a scene; the files of its processes are copied to `keep`."""
    if scene.missing:
        return Verdict(scene.name, not_run=scene.missing)
    if isinstance(scene, OwnStage):
        return await scene.play(runs, chance)
    async with arena(scene.terms, chance, keep) as made:
        began = time.monotonic()
        people = People(made)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(people.work())
            notes = await _played(scene, made, runs)
            with suppress(TimeoutError):
                await _settled(made)
            working.cancel()
        notes += [*made.notes, *await ended(made)]
        took_s = time.monotonic() - began
        said = ", ".join(f"{count} {word}" for word, count in people.settled.items())
        notes += [f"unknown outcomes were settled: {said}"] * bool(said)
        async with asyncio.timeout(SETTLE_S):
            found = await evidence(made)
        verdict = judged(scene.name, made, found, scene.seen(made), took_s, notes)
        (made.directory / "verdict.txt").write_text("\n".join((*verdict.notes, *verdict.why)))
        (made.directory / "journals.jsonl").write_text(journal_text(found, verdict.why))
        return verdict


async def _played(scene: Scene, made: Arena, runs: int) -> list[str]:
    try:
        async with asyncio.timeout(PLAY_S), asyncio.TaskGroup() as group:
            group.create_task(enqueue(made, runs))
            await asyncio.sleep(FIRST_RUNS_S)
            await scene.faults(made)
    except TimeoutError:
        return [f"the faults were not over after {PLAY_S:g} s"]
    return []


async def _settled(made: Arena) -> None:
    """Wait until everything is finished, or nothing has changed for SETTLE_S."""
    entries, changed_at = 0, time.monotonic()
    async with asyncio.timeout(LONGEST_SETTLE_S):
        while await made.admin.number(OPEN):
            if (count := await made.admin.number(ENTRIES)) != entries:
                entries, changed_at = count, time.monotonic()
            if time.monotonic() - changed_at > SETTLE_S:
                return
            await asyncio.sleep(0.5)


async def ended(made: Arena) -> list[str]:
    """Ask the workers to end; a worker that has ended before, or with an error, is a note."""
    notes = []
    for worker in made.workers:
        if worker.process.returncode is not None:
            notes.append(f"{worker.name} had ended by itself: {worker.process.returncode}")
        elif status := await worker.end(signal.SIGTERM):
            notes.append(f"{worker.name} ended with {status}")
    return notes
