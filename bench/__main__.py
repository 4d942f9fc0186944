"""The bench, whole: every contender in a process of its own, in turn, and one table at the end.

    DATABASE_URL=mysql://… python -m bench [--rounds N] [--seconds S]

A database of its own is made on the server and dropped at the end. A goal that is
missed is marked in the table and does not change the exit status.
"""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.cold_start import cold_starts, help_ratio
from bench.database import asking, check_enrolments, prepare, private_database, stored
from bench.measure import Figures, measure
from bench.processes import World, mock_model
from bench.table import Everything, table

START_ROUNDS = 9


async def bench(server_url: str, rounds: int, seconds: float) -> Everything:
    """Measure everything."""
    async with _private_databases(server_url) as (mysql_url, sqlite_url, folder):
        asking().write(folder / "asking.json")
        figures = await asyncio.to_thread(_figures, mysql_url, folder, rounds, seconds)
        await check_enrolments(mysql_url)
        _say("cold starts")
        cold = await cold_starts(mysql_url, sqlite_url, START_ROUNDS)
        ratio = await asyncio.to_thread(help_ratio, START_ROUNDS)
        return Everything(figures, await stored(mysql_url), cold, ratio)


@asynccontextmanager
async def _private_databases(server_url: str) -> AsyncIterator[tuple[str, str, Path]]:
    name = f"bench_{secrets.token_hex(6)}"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        sqlite_url = f"sqlite:///{folder}/bench.db"
        await prepare(sqlite_url)
        async with private_database(server_url, name) as mysql_url:
            yield mysql_url, sqlite_url, Path(folder)


def _figures(mysql_url: str, folder: Path, rounds: int, seconds: float) -> dict[str, Figures]:
    with mock_model() as base_url:
        world = World(base_url, folder / "asking.json", mysql_url)
        return measure(world, rounds, seconds, _say)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith(("mysql", "mariadb")):
        parser.error("DATABASE_URL names no MySQL; `make bench` starts one")
    everything = asyncio.run(bench(url, arguments.rounds, arguments.seconds))
    print(table(everything))
    return 0


if __name__ == "__main__":
    sys.exit(main())
