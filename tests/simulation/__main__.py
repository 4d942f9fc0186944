"""Run seeds: `python -m tests.simulation --seeds 0-999`, or one: `--seed 13 --shrink --log`.

Exit 1 if an invariant was violated. A violation prints its seed and its schedule.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from tests.simulation.many import reports, settle_down
from tests.simulation.shrink import as_python, shrink
from tests.simulation.simulation import Report, simulate

PROGRESS = 5_000


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        settle_down()
        report = simulate(options.seed, log=logging.DEBUG if options.log else None)
        _print(report, shrinks=options.shrink)
        return bool(report.violations)
    first, _, last = options.seeds.partition("-")
    return _many(range(int(first), int(last or first) + 1), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-999", metavar="FIRST-LAST")
    parser.add_argument("--seed", type=int, help="this one alone, with its schedule")
    parser.add_argument("--shrink", action="store_true", help="print the smallest schedule")
    parser.add_argument("--log", action="store_true", help="with --seed: the log in virtual time")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--stop-after", type=int, default=10, metavar="VIOLATIONS")
    return parser


def _many(seeds: range, options: argparse.Namespace) -> int:
    done = bad = 0
    for seed, report in reports(seeds, options.processes):
        done += 1
        if report is not None:
            bad += 1
            _print(report, shrinks=options.shrink)
        if done % PROGRESS == 0:
            print(f"{done} of {len(seeds)} seeds, {bad} with violations", flush=True)
        if bad >= options.stop_after:
            print(f"stopped after seed {seed}")
            break
    print(f"{done} seeds, {bad} with violations")
    return bool(bad)


def _print(report: Report, *, shrinks: bool) -> None:
    if not report.violations:
        print(f"seed {report.seed}: nothing, after {report.ended_at_s:.0f} s")
        return
    print(f"seed {report.seed} violates:", *report.violations, sep="\n  ")
    print("with:", *report.schedule, sep="\n  ", flush=True)
    if shrinks:
        print(as_python(shrink(report)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
