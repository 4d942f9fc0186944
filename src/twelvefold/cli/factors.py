"""`twelvefold factors`: checks the twelve factors and prints their results as a table or JSON."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from twelvefold.cli.command import DONE, FAILED, configure, has_colour, run_async
from twelvefold.cli.output import print_json, print_notice
from twelvefold.factors.harness import Result
from twelvefold.factors.registry import select_factors
from twelvefold.factors.runner import FactorResult, run_checks
from twelvefold.observe.escape import escape

COLOURS: dict[Result, str] = {"pass": "32", "fail": "31", "not claimed": "33", "inconclusive": "33"}
HEADS = ("NO", "FACTOR", "RESULT", "EVIDENCE")
MIN_EVIDENCE_WIDTH = 60
"""Evidence is wrapped on a terminal, to at least this width."""


def factors(environ: Mapping[str, str], *, numbers: Sequence[str], as_json: bool) -> int:
    """Check the factors. The exit status is 1 if one of them failed."""
    settings, wanted = configure(environ, level="error"), select_factors(numbers)

    async def work() -> int:
        if sys.stderr.isatty():
            print_notice(
                f"running {len(wanted)} checks; all take about a minute on a quiet machine"
            )
        results = await run_checks(settings, environ, wanted)
        if as_json:
            for result in results:
                print_json(_as_json(result))
        else:
            _print_table(results, colour=has_colour(sys.stdout, environ))
        return FAILED if any(one.result == "fail" for one in results) else DONE

    return run_async(work(), grace_s=settings.grace_s)


def _as_json(result: FactorResult) -> dict[str, object]:
    return {
        "factor": result.factor.number,
        "name": result.factor.name,
        "result": result.result,
        "evidence": result.evidence,
        "took_s": round(result.took_s, 2),
    }


def _print_table(results: Sequence[FactorResult], *, colour: bool) -> None:
    """Print one line for each piece of evidence, wrapped if standard output is a terminal."""
    widths = (
        max(len(one.factor.number) for one in results),
        max(len(one.factor.name) for one in results),
        max(map(len, COLOURS)),
    )
    print("  ".join(f"{head:<{width}}" for head, width in zip(HEADS, (*widths, 0), strict=True)))
    evidence_width = _evidence_width(sum(widths) + 2 * len(widths))
    for one in results:
        cells: Sequence[str] = (one.factor.number, one.factor.name, one.result)
        for line in _lines(one.evidence, evidence_width):
            padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
            if colour and cells[2]:
                padded[2] = f"\x1b[{COLOURS[one.result]}m{padded[2]}\x1b[0m"
            print(f"{'  '.join(padded)}  {line}".rstrip())
            cells = ("", "", "")


def _evidence_width(left: int) -> int:
    """Return the width to wrap evidence at, right of `left` columns; 0: do not wrap."""
    if not sys.stdout.isatty():
        return 0
    return max(MIN_EVIDENCE_WIDTH, shutil.get_terminal_size().columns - left)


def _lines(evidence: Sequence[str], width: int) -> Iterator[str]:
    for fact in evidence:
        line = escape(" ".join(fact.split()))
        yield from textwrap.wrap(line, width, subsequent_indent="  ") if width else [line]
