"""`twelvefold factors`: each of the twelve factors tried, and the table of what came of it."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from twelvefold.cli.command import DONE, FAILED, begin, has_colour, run_async
from twelvefold.cli.output import print_json, tell
from twelvefold.factors.harness.report import Result, Row
from twelvefold.factors.registry import factors_of, prove
from twelvefold.observe.escape import escape

COLOURS: dict[Result, str] = {"pass": "32", "fail": "31", "not claimed": "33", "inconclusive": "33"}
HEADS = ("NO", "FACTOR", "RESULT", "EVIDENCE")
NARROW = 60
"""Evidence is folded on a terminal, but not into a column narrower than this."""


def factors(environ: Mapping[str, str], *, numbers: Sequence[str], as_json: bool) -> int:
    """Try the factors; 1 if one of them failed."""
    settings, wanted = begin(environ, level="error"), factors_of(numbers)

    async def work() -> int:
        if sys.stderr.isatty():
            tell(
                f"{len(wanted)} checks are running side by side; about a minute on a quiet machine"
            )
        rows = await prove(settings, environ, wanted)
        if as_json:
            for row in rows:
                print_json(_as_json(row))
        else:
            _print(rows, colour=has_colour(sys.stdout, environ))
        return FAILED if any(row.result == "fail" for row in rows) else DONE

    return run_async(work(), grace_s=settings.grace_s)


def _as_json(row: Row) -> dict[str, object]:
    return {
        "factor": row.factor.number,
        "name": row.factor.name,
        "result": row.result,
        "evidence": row.evidence,
        "took_s": round(row.took_s, 2),
    }


def _print(rows: Sequence[Row], *, colour: bool) -> None:
    """The table: a line an evidence, folded where somebody looks at it on a terminal."""
    names = max(len(row.factor.name) for row in rows)
    widths = (max(len(row.factor.number) for row in rows), names, max(map(len, COLOURS)))
    print("  ".join(f"{head:<{width}}" for head, width in zip(HEADS, (*widths, 0), strict=True)))
    left = sum(widths) + 2 * len(widths)
    room = max(NARROW, shutil.get_terminal_size().columns - left) if sys.stdout.isatty() else 0
    for row in rows:
        head: Sequence[str] = (row.factor.number, row.factor.name, row.result)
        for line in _lines(row.evidence, room):
            cells = [f"{cell:<{width}}" for cell, width in zip(head, widths, strict=True)]
            if colour and head[2]:
                cells[2] = f"\x1b[{COLOURS[row.result]}m{cells[2]}\x1b[0m"
            print(f"{'  '.join(cells)}  {line}".rstrip())
            head = ("", "", "")


def _lines(evidence: Sequence[str], room: int) -> Iterator[str]:
    for fact in evidence:
        line = escape(" ".join(fact.split()))
        yield from textwrap.wrap(line, room, subsequent_indent="  ") if room else [line]
