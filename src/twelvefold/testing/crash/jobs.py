"""What a crash test asks of its processes, as values that go over a pipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twelvefold.testing.database import Seed
from twelvefold.testing.model import Reply

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by table."""


@dataclass(frozen=True)
class WorkflowPath:
    """Where a workflow is: a name in a module, and the module's file if it cannot be imported."""

    module: str
    name: str
    file: str = ""


@dataclass(frozen=True)
class Scenario:
    """A run, from its input to its end."""

    workflows: tuple[WorkflowPath, ...]
    input: str
    replies: Sequence[Reply] | Mapping[str, Sequence[Reply]] | None
    principal: str
    setup: str
    seed: Seed
    answers: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CreateDatabase:
    """Create a database on the server, or a SQLite file; its URL is the result."""

    server: str
    path: str = ""


@dataclass(frozen=True)
class DropDatabase:
    """Drop a database on the server."""

    server: str
    url: str


@dataclass(frozen=True)
class Drive:
    """Drive the run of the scenario to its end; the rows are the result.

    `kill_at` is the place where the process is killed, 0 for none. `start_us` is the time at its
    start by the clock of the database, in microseconds since 1970; 0: now.
    """

    url: str
    kill_at: int = 0
    start_us: int = 0


Job = CreateDatabase | DropDatabase | Drive


@dataclass(frozen=True)
class Ending:
    """How a run ended, and the rows of the database then."""

    status: str
    error: str
    rows: Rows


@dataclass(frozen=True)
class Done:
    """What became of a job: the places that its process reached, how it ended, and its result.

    `signal` is the signal that killed the process, 0 if none did. `error` is the traceback of an
    exception that ended it. `clock_us` is the last time of the clock of the database.
    """

    places: tuple[str, ...]
    signal: int
    result: Any = None
    error: str = ""
    clock_us: int = 0
