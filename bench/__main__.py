"""Measure everything and print the results as Markdown.

    DATABASE_URL=mysql://… python -m bench [--quick] [--against COMMIT] [--write]

Each contender runs in a process of its own, in turn with the others. The databases are private to
this run and dropped at the end. A target that is missed does not change the exit status.
"""

import argparse
import asyncio
import os
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.against import checkout
from bench.cold_start import cold_starts
from bench.database import check, prepare, private_database, turn_bytes
from bench.entrants import OURS, loops, twelvefold
from bench.measure import TURNS, Effort, measure
from bench.plot import svg
from bench.processes import ROOT, Version, World, mock_model
from bench.samples import Samples
from bench.system import circumstances, server_pid
from bench.table import BEFORE, BYTES, ratios, report
from bench.workload import asking

README, PLOT = ROOT / "bench" / "README.md", ROOT / "bench" / "results.svg"
RESULTS = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)
QUICK = Effort(rounds=1, seconds=0.5, burst_runs=200)
START_ROUNDS = 5


async def bench(server_url: str, effort: Effort, against: str, driver: str | None) -> Samples:
    """Measure everything."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        versions = [await stack.enter_async_context(_version(server_url, ROOT, folder))]
        if against:
            root = stack.enter_context(checkout(against, folder))
            before = _version(server_url, root, folder, BEFORE)
            versions.append(await stack.enter_async_context(before))
        name = f"bench_{secrets.token_hex(6)}"
        loops_url = await stack.enter_async_context(private_database(server_url, name))
        entrants = [*loops(loops_url, driver), *(e for one in versions for e in twelvefold(one))]
        asking().write(folder / "asking.json")
        with mock_model() as base_url:
            world = World(base_url, folder / "asking.json", await server_pid(server_url))
            samples = await asyncio.to_thread(measure, world, entrants, effort, _say)
        await _add_bytes(versions, samples)
        _say("starts")
        await cold_starts(versions, 1 if effort is QUICK else START_ROUNDS, samples)
        return samples


@asynccontextmanager
async def _version(
    server_url: str, root: Path, folder: Path, suffix: str = ""
) -> AsyncIterator[Version]:
    """A version with databases of its own, since their schemas may differ."""
    name = f"bench_{secrets.token_hex(6)}"
    sqlite_url = f"sqlite:///{folder}/{name}.db"
    await prepare(sqlite_url, root)
    async with private_database(server_url, name, root) as mysql_url:
        yield Version(root, mysql_url, sqlite_url, suffix)


async def _add_bytes(versions: list[Version], samples: Samples) -> None:
    for version in versions:
        await check(version.mysql_url)
        samples.add(OURS + version.suffix, BYTES, await turn_bytes(version.mysql_url, TURNS))


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round: a check, no figures")
    parser.add_argument(
        "--against", default="", help="a directory or commit to measure as `before`"
    )
    parser.add_argument(
        "--driver-python", help="a Python whose package `asyncmy` is another driver"
    )
    parser.add_argument("--write", action="store_true", help="update bench/README.md and the plot")
    given = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; `make bench` starts one")
    effort = QUICK if given.quick else Effort(given.rounds, given.seconds)
    place = asyncio.run(circumstances(url))
    samples = asyncio.run(bench(url, effort, given.against, given.driver_python))
    text = report(samples, f"{effort.rounds} rounds of {effort.seconds:g} s on {place}.")
    print(text)
    if given.write:
        README.write_text(RESULTS.sub(lambda _: text + "\n", README.read_text()))
        PLOT.write_text(svg(ratios(samples), samples))
    return 0


if __name__ == "__main__":
    sys.exit(main())
