"""Kills real processes at every boundary of the journal, and counts what was lost or doubled.

    DATABASE_URL=mysql://… python -m tests.acceptance.crash [--trials N] [--random N]

Each trial is one student's enrolment: a process drives it and is killed with SIGKILL, another
one takes it up as soon as the dead one's lease is over, and what came of it is told from the
database alone. `crash_worker` is the process that stops at a named place; the kills at random
instants hit the real `twelvefold run` and `twelvefold runs resume`. Exit 1 unless nothing was
lost, nothing was doubled and every run was finished.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.academy import Place, Verdict, academy, judge, lease_s, run_of
from tests.acceptance.crash_model import Client, CrashModel, Script, crash_model, journal_of
from tests.acceptance.crash_worker import LEASE_S, Job, work
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store

Process = asyncio.subprocess.Process
# Each worker is a process of its own, forked by a server that has done the imports.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.acceptance.crash_worker", "aiohttp"])
ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 10
"""Trials in flight; most of the time they wait for a lease to run out."""
PACE_MS = 60
"""How long a reply takes when the instant is random, so that it falls into one as often as not."""
GIVE_UP_S = 600.0
AT_RANDOM = "at a random instant"
ENTRY_POINT = "from twelvefold.cli.main import main; raise SystemExit(main())"
"""What the console script does."""


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process is killed: at a place in the worker, in a reply, or at some instant.

    `place` is what the table says. `resumed` kills the process that takes the run up, after one
    that was killed once a tool's rows were written.
    """

    place: str
    halt: str = ""
    hold: int = 0
    script: Script = "in_turn"
    resumed: bool = False


def kills() -> list[Kill]:
    """Every boundary of every step, once."""
    found = [
        Kill("before the packet with the run and COMMIT", "start_written:1"),
        Kill("packet with the run and COMMIT sent, not answered", "start_sent:1"),
        Kill("run committed, before its first step", "start_done:1"),
    ]
    found += [Kill("between steps, before the model is asked", f"ask:{n}") for n in range(1, 5)]
    found += [Kill("in mid-reply", hold=n) for n in range(1, 5)]
    found += [Kill("whole reply in, before the transaction", f"replied:{n}") for n in range(1, 5)]
    found += [Kill("in a tool, between its statements", f"statement:{n}") for n in range(1, 6)]
    scripts: tuple[tuple[Script, int], ...] = (("in_turn", 4), ("at_once", 6))
    for place, halt in (
        ("step begun, before the fence is sent", "begun"),
        ("tool's rows written, before the journal entry", "rows"),
        ("fence checked, before the packet with entry and COMMIT", "step_written"),
        ("packet with entry and COMMIT sent, not answered", "step_sent"),
        ("committed, before the process knows what is next", "step_done"),
    ):
        for script, commits in scripts:
            found += [Kill(place, f"{halt}:{n}", script=script) for n in range(1, commits + 1)]
    found.append(Kill("taken up, before the journal is read", "claimed:1", resumed=True))
    found += [
        Kill("killed again, after the first commit of the second process", halt, resumed=True)
        for halt in ("step_written:1", "step_sent:1", "step_done:1")
    ]
    return found


@dataclass(frozen=True, slots=True)
class Arena:
    """What trials stand on: a database, a model, and how many may go on at once."""

    url: str
    store: Store
    model: CrashModel
    turns: asyncio.Semaphore
    apart: bool = False

    def environment(self, client: Client) -> dict[str, str]:
        """The settings of a process that takes part."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
            "DATABASE_URL": self.url,
            "OPENAI_BASE_URL": self.model.base_url(client),
            "OPENAI_MODEL": "mock",
            "LEASE_S": "1",
            "LOG_LEVEL": "error",
        }


@asynccontextmanager
async def arena(
    database_url: str, places: Sequence[Place], *, apart: bool = False
) -> AsyncIterator[Arena]:
    """A database with a course for each of the places, and a model; both end with the body."""
    name = f"crash_{secrets.token_hex(6)}"
    async with academy(database_url, name, places) as url, crash_model() as model:
        store = await open_store(url)
        try:
            yield Arena(url, store, model, asyncio.Semaphore(AT_ONCE), apart)
        finally:
            await store.close()


class Worker:
    """A process that does a job, seen from its parent."""

    def __init__(self, job: Job) -> None:
        self._wire, theirs = PROCESSES.Pipe()
        self._process = PROCESSES.Process(target=work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()

    async def said(self, *words: str) -> str:
        """The next thing it says that begins with one of the words; "" at its end."""
        while True:
            await _readable(self._wire.fileno())
            try:
                line: str = self._wire.recv()
            except (EOFError, ConnectionError):
                return ""
            if line.split()[0] in words:
                return line

    def go_on(self) -> None:
        """Let it leave the place where it stands."""
        self._wire.send("go on")

    async def wait(self) -> None:
        await _readable(self._process.sentinel)

    async def kill(self) -> None:
        """SIGKILL, and wait until it has worked."""
        self._process.kill()
        await self.wait()
        self._wire.close()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


@asynccontextmanager
async def worker(
    arena: Arena,
    place: Place,
    client: Client,
    *,
    halt: str = "",
    run: RunId | None = None,
    lease_s: float = LEASE_S,
) -> AsyncIterator[Worker]:
    """A process that goes as far as `halt`, on a new run or the one given; SIGKILL at the end."""
    model_url = arena.model.base_url(client)
    job = Job(arena.url, model_url, place.student, place.wish, run, halt, arena.apart, lease_s)
    process = Worker(job)
    try:
        yield process
    finally:
        await process.kill()


@asynccontextmanager
async def command(arena: Arena, place: Place, client: Client) -> AsyncIterator[Process]:
    """What an operator would type: `run`, or `runs resume` once something is written.

    SIGKILL at the end.
    """
    run = await free_run(arena.store, place)
    typed = ["runs", "resume", str(run)] if run else ["run", "--as", place.student, place.wish]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ENTRY_POINT, *typed),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        env=arena.environment(client),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def free_run(store: Store, place: Place) -> RunId | None:
    """The student's run, once the lease of the process that died is over."""
    run = await run_of(store, place)
    while run and (left_s := await lease_s(store, run)):
        await asyncio.sleep(left_s)
    return run


async def trial(arena: Arena, kill: Kill, place: Place) -> Verdict:
    """One enrolment whose process is killed at a boundary, and finished by another one."""
    async with _in_turn(arena, place) as problems:
        first = Kill(kill.place, "rows:2") if kill.resumed else kill
        problems += await _kill(arena, first, place)
        if kill.resumed:
            problems += await _kill(arena, kill, place, await free_run(arena.store, place))
        run = await free_run(arena.store, place)
        client = Client(f"{place.student}.last", kill.script)
        async with worker(arena, place, client, run=run) as process:
            await process.wait()
    return await judge(arena.store, place, journal_of(kill.script), problems)


async def _kill(arena: Arena, kill: Kill, place: Place, run: RunId | None = None) -> list[str]:
    """Start a process and kill it at the boundary; what was wrong if it did not get there."""
    client = Client(f"{place.student}.{int(run is not None)}", kill.script, kill.hold)
    async with worker(arena, place, client, halt=kill.halt, run=run) as process:
        if kill.hold:
            await arena.model.wait_for("held", client)
            return []
        reached = await process.said("at", "end")
        wanted = kill.halt.partition(":")[0]
        return [] if reached == f"at {wanted}" else [f"{reached or 'died'}, not at {kill.halt}"]


async def random_trial(
    arena: Arena, place: Place, length_s: float, chance: random.Random
) -> Verdict:
    """One enrolment by the real commands, killed once or twice at an instant of a run's length."""
    instants = [chance.uniform(0, length_s) for _ in range(chance.choice((1, 1, 2)))]
    async with _in_turn(arena, place) as problems:
        for number, instant_s in enumerate(instants):
            client = Client(f"{place.student}.{number}", pace_ms=PACE_MS)
            async with command(arena, place, client) as process:
                await _asks_or_ends(arena, client, process)
                await asyncio.sleep(instant_s)
        async with command(arena, place, Client(f"{place.student}.last")) as process:
            await process.wait()
    return await judge(arena.store, place, journal_of("in_turn"), problems)


@asynccontextmanager
async def _in_turn(arena: Arena, place: Place) -> AsyncIterator[list[str]]:
    """A trial's time; what goes wrong in it is a line of the list that is given."""
    problems: list[str] = []
    async with arena.turns:
        try:
            async with asyncio.timeout(GIVE_UP_S):
                yield problems
        except TimeoutError:
            problems.append(f"was not over after {GIVE_UP_S:g} s")


async def _asks_or_ends(arena: Arena, client: Client, process: Process) -> None:
    """Until the process has asked the model, which it does once its run is written."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(arena.model.wait_for("asked", client))
        ending = tasks.create_task(process.wait())
        await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        ending.cancel()


async def run_length_s(arena: Arena, place: Place) -> float:
    """How long a run takes from its first request on, with nobody disturbing it."""
    client = Client(f"{place.student}.0", pace_ms=PACE_MS)
    async with asyncio.timeout(GIVE_UP_S), command(arena, place, client) as process:
        await _asks_or_ends(arena, client, process)
        began = time.monotonic()
        await process.wait()
    return time.monotonic() - began


Results = Mapping[str, Sequence[Verdict]]
Trial = asyncio.Task[Verdict]


class Progress:
    """Says on standard error how far the trials are, since all of them take minutes."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def of(self, trial: Trial) -> Trial:
        """Count the trial once it is over."""
        trial.add_done_callback(self._count)
        return trial

    def _count(self, _: Trial) -> None:
        self._done += 1
        if self._done % 50 == 0:
            print(f"crash: {self._done} of {self._total} trials", file=sys.stderr, flush=True)


async def crash(
    database_url: str,
    boundaries: Sequence[Kill],
    randoms: int,
    *,
    seed: int | None = None,
    apart: bool = False,
) -> Results:
    """Do all trials, and tell what came of them by their place in the table.

    `apart` takes an engine that commits a tool's rows before the journal, to see it fail.
    """
    chance = random.Random(seed)
    told = Progress(len(boundaries) + randoms)
    places = [Place(number) for number in range(1, len(boundaries) + randoms + 2)]
    async with arena(database_url, places, apart=apart) as stage:
        async with asyncio.TaskGroup() as tasks:
            at_boundaries = [
                (one.place, told.of(tasks.create_task(trial(stage, one, place))))
                for one, place in zip(boundaries, places, strict=False)
            ]
        length_s = await run_length_s(stage, places[-1]) if randoms else 0.0
        async with asyncio.TaskGroup() as tasks:
            at_random = [
                (
                    AT_RANDOM,
                    told.of(tasks.create_task(random_trial(stage, place, length_s, chance))),
                )
                for place in places[len(boundaries) : -1]
            ]
    results: dict[str, list[Verdict]] = {}
    for name, done in (*at_boundaries, *at_random):
        results.setdefault(name, []).append(done.result())
    return results


def good(results: Results) -> bool:
    return all(
        one.finished and not one.lost and not one.doubled
        for verdicts in results.values()
        for one in verdicts
    )


def table(results: Results) -> str:
    """The results, a line a boundary, and what was wrong below it."""
    heads = ("boundary", "trials", "lost", "doubled", "finished")
    rows = [(name, *_counts(verdicts)) for name, verdicts in results.items()]
    rows.append(("all", *_counts([one for verdicts in results.values() for one in verdicts])))
    width = max(len(name) for name, *_ in rows)
    lines = [_row(heads, width)]
    lines += [_row(row, width) for row in rows]
    why = [reason for verdicts in results.values() for one in verdicts for reason in one.why]
    return "\n".join([*lines, *why])


def _counts(verdicts: Sequence[Verdict]) -> tuple[int, int, int, int]:
    counted = Counter[str]()
    for one in verdicts:
        counted.update(lost=one.lost, doubled=one.doubled, finished=one.finished)
    return len(verdicts), counted["lost"], counted["doubled"], counted["finished"]


def _row(cells: Sequence[object], width: int) -> str:
    name, *numbers = cells
    return f"{name:<{width}}" + "".join(f"{number:>10}" for number in numbers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2, help="of each boundary of each step")
    parser.add_argument("--random", type=int, default=200, help="kills at random instants")
    parser.add_argument("--seed", type=int, help="of the random instants")
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; `make crash` starts one")
    began = time.monotonic()
    boundaries = kills() * arguments.trials
    results = asyncio.run(crash(url, boundaries, arguments.random, seed=arguments.seed))
    print(table(results))
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if good(results) else 1


if __name__ == "__main__":
    sys.exit(main())
