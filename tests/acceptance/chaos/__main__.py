"""Real faults under real workers: no effect is lost or doubled, no tool charged for a service.

    python -m tests.acceptance.chaos [SCENE…] [--runs 200] [--seed N] [--keep DIRECTORY] [--json]

Each scene starts a MariaDB of its own, two workers and a web process, writes its runs while the
fault begins and ends, and approves calls and settles unknown outcomes as people do. Exit 1 unless
all figures of the table from "lost" on are 0 and each fault occurred.
"""

import argparse
import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.chaos.disk import SmallDisk, remove_left_behind
from tests.acceptance.chaos.play import play
from tests.acceptance.chaos.scenes import scenes
from tests.acceptance.chaos.table import as_json, table
from tests.acceptance.chaos.verdict import Verdict
from tests.servers.home import end_servers, home

RUNS = 200


def run_scenes(
    names: Sequence[str] = (),
    *,
    runs: int = RUNS,
    seed: int | None = None,
    keep: Path | None = None,
    mount: bool | None = None,
) -> list[Verdict]:
    """Play these scenes, or all; `mount` None mounts a small disk where that is allowed."""
    mounting = SmallDisk.can_be_mounted() if mount is None else mount
    made = scenes(mount=mounting)
    seed = random.randrange(2**32) if seed is None else seed
    print(f"chaos: seed {seed}", file=sys.stderr, flush=True)
    verdicts: list[Verdict] = []
    for name in names or made:
        chance = random.Random(f"{seed} {name}")
        own = keep / name if keep else None
        verdict = _quietly(play(made[name](), runs, chance, own))
        print(f"chaos: {name}: {verdict.took_s:.0f} s", file=sys.stderr, flush=True)
        verdicts.append(verdict)
    return verdicts


def _quietly(scene: Coroutine[Any, Any, Verdict]) -> Verdict:
    """Play a scene; what the harness itself tries again is not logged."""
    logging.disable(logging.ERROR)
    try:
        return asyncio.run(scene)
    finally:
        logging.disable(logging.NOTSET)


def main() -> int:
    names = list(scenes(mount=False))
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each scene")
    parser.add_argument("--seed", type=int, help="of all that is left to chance")
    parser.add_argument("--keep", type=Path, help="a directory for logs and the counter's records")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--no-mount", action="store_true", help="fill a tablespace with a limit, not a small disk"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.scenes) - set(names):
        parser.error(f"no scene {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: all that was begun ends
    end_servers(lambda record: record.orphaned)
    remove_left_behind(home())
    began = time.monotonic()
    verdicts = run_scenes(
        arguments.scenes,
        runs=arguments.runs,
        seed=arguments.seed,
        keep=arguments.keep,
        mount=False if arguments.no_mount else None,
    )
    print(as_json(verdicts) if arguments.json else table(verdicts))
    print(f"chaos: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if all(verdict.is_good or verdict.not_run for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
