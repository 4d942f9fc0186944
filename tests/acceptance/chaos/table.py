"""The verdicts as a table in Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from tests.acceptance.chaos.verdict import FAULTS, Verdict

HEADS = ("runs", "completed", "failed", "unknown", *FAULTS, "mails_again", "seen")
SHOWN = 10
"""Sentences of one scene below the table, at most."""


def table(verdicts: Sequence[Verdict]) -> str:
    """Return a line for each scene, then the errors and notes."""
    heads = ["fault", *(head.replace("_", " ") for head in HEADS), "recovery", "took"]
    lines = [_line(heads), _line(["---"] + ["--:"] * (len(heads) - 1))]
    lines += [_line(_cells(one)) for one in verdicts]
    sentences = [f"- {one.scene}: {sentence}" for one in verdicts for sentence in _sentences(one)]
    return "\n".join([*lines, "", *sentences] if sentences else lines)


def as_json(verdicts: Sequence[Verdict]) -> str:
    """An array with all figures of each scene."""
    return json.dumps([asdict(one) | {"is_good": one.is_good} for one in verdicts], indent=1)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(one: Verdict) -> list[str]:
    if one.not_run:
        return [one.scene, f"not run: {one.not_run}"] + [""] * (len(HEADS) + 1)
    numbers = [str(getattr(one, head)) for head in HEADS]
    recovery = "" if one.recovery_s is None else f"{one.recovery_s:.1f} s"
    return [one.scene, *numbers, recovery, f"{one.took_s:.0f} s"]


def _sentences(one: Verdict) -> list[str]:
    sentences = [*one.notes, *one.why[:SHOWN]]
    if len(one.why) > SHOWN:
        sentences.append(f"and {len(one.why) - SHOWN} more")
    if not one.seen and not one.not_run:
        sentences.append("the fault did not occur, so nothing is proven")
    return sentences
