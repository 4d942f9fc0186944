"""The workflow `tests` and `.ci/run`, read: which steps each of them has."""

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
"""The job that fails where another has; its step is no target of make."""


@dataclass(frozen=True)
class Job:
    """One job with one choice of its matrix."""

    name: str
    database: str
    commands: tuple[str, ...]


def read(path: Path) -> dict[str, Any]:
    """A file of YAML. The key `on` of a workflow is True to YAML 1.1."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def jobs(workflow: Mapping[str, Any]) -> Iterator[Job]:
    """Every job but the gate, once for each choice of its matrix."""
    for name, job in workflow["jobs"].items():
        if name == GATE:
            continue
        for choice in choices(job.get("strategy", {}).get("matrix", {})):
            services = job.get("services", {}).values()
            images = [filled(service["image"], choice) for service in services]
            commands = tuple(step["run"] for step in job["steps"] if "run" in step)
            yield Job(filled(job.get("name", name), choice), " ".join(images), commands)


def choices(matrix: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def filled(text: str, choice: Mapping[str, str]) -> str:
    """The text with the matrix's values in it. Raises KeyError where it asks for another."""
    return re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: choice[found[1]], text)


def target(command: str) -> str:
    """What `make TARGET` makes. Raises ValueError for any other command."""
    match shlex.split(command):
        case ["make", name]:
            return name
    raise ValueError(f"`{command}` is not one target of make")


def steps_of_ci() -> list[str]:
    """The targets that `.ci/run` makes, in its order."""
    script = (ROOT / ".ci" / "run").read_text()
    return [target(found) for found in re.findall(r"^step (.+)$", script, re.MULTILINE)]
