"""Recorded conversations as they lie in a folder: what the tools should answer and change."""

import gzip
import json
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recording:
    """A conversation: what its tools should answer, and the hash of what should have changed.

    A recording without expected data has no hash, and its own outputs are those expected.
    """

    run_id: str
    flags: frozenset[str]
    outputs: tuple[str, ...]
    diff_sha256: str | None
    changed_ids: frozenset[str]


def recordings_in(folder: Path, domain: str) -> list[Recording]:
    """The domain's recordings, in an order that mixes their sources and is always the same."""
    files = [*folder.glob("*.jsonl.gz"), *folder.glob("*.jsonl")]
    lines = (
        line for file in sorted(files) if not file.name.startswith("index") for line in _lines(file)
    )
    runs = (json.loads(line) for line in lines)
    found = {run["run_id"]: _recording(run) for run in runs if run["domain"] == domain}
    return sorted(found.values(), key=lambda one: sha256(one.run_id.encode()).digest())


def _lines(file: Path) -> list[str]:
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    # Not splitlines: a text may hold a U+2028 as it is.
    return [line for line in content.decode().split("\n") if line.strip()]


def _recording(run: dict[str, Any]) -> Recording:
    recorded = [message["content"] for message in run["messages"] if message["role"] == "tool"]
    expected = run.get("expected") or {}
    return Recording(
        run_id=run["run_id"],
        flags=frozenset(run.get("flags", ())),
        # None: the expected output is the one that was recorded.
        outputs=tuple(
            was if should is None else should
            for was, should in zip_longest(recorded, expected.get("outputs", ()))
        ),
        diff_sha256=expected.get("diff_sha256"),
        changed_ids=frozenset(change["id"] for change in expected.get("diff", ())),
    )
