"""Reads the steps of the workflow `tests` and of `.ci/run`."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
GATE = "passed"
"""The job that fails if another one failed; its step is not a target of make."""


@dataclass(frozen=True)
class Job:
    """A job with one combination of its matrix."""

    name: str
    database: str
    commands: tuple[str, ...]


def read(path: Path) -> dict[str, Any]:
    """Parse a YAML file. YAML 1.1 reads the key `on` of a workflow as true."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def jobs(workflow: Mapping[str, Any]) -> Iterator[Job]:
    """Yield every job except the gate, once for each combination of its matrix."""
    for name, job in workflow["jobs"].items():
        if name == GATE:
            continue
        for combination in combinations(job.get("strategy", {}).get("matrix", {})):
            services = job.get("services", {}).values()
            images = [interpolate(service["image"], combination) for service in services]
            commands = tuple(step["run"] for step in job["steps"] if "run" in step)
            yield Job(interpolate(job.get("name", name), combination), " ".join(images), commands)


def combinations(matrix: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def interpolate(text: str, combination: Mapping[str, str]) -> str:
    """Insert the values of the matrix into the text. Raises KeyError for an unknown one."""
    return re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: combination[found[1]], text)


def target(command: str) -> str:
    """Return the target of `make TARGET`. Raises ValueError for any other command."""
    match shlex.split(command):
        case ["make", name]:
            return name
    raise ValueError(f"`{command}` does not run one target of make")


def steps_of_ci() -> list[str]:
    """Return the targets of `.ci/run` in order."""
    script = (ROOT / ".ci" / "run").read_text()
    return [target(found) for found in re.findall(r"^step (.+)$", script, re.MULTILINE)]
