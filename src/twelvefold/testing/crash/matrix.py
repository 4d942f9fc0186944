"""Kills the processes of a workflow at every boundary of its run, and compares what is left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue
from shutil import copyfile
from typing import Any

from twelvefold.boot import read_environment
from twelvefold.config import Settings
from twelvefold.core import Workflow
from twelvefold.testing.crash.arguments import (
    check_replies,
    check_scenario,
    check_sendable,
    check_settings,
    parse_workflows,
)
from twelvefold.testing.crash.jobs import (
    CreateDatabase,
    Done,
    Drive,
    DropDatabase,
    Ending,
    Job,
    Scenario,
    WorkflowPath,
)
from twelvefold.testing.crash.report import Baseline, Boundary, CrashReport
from twelvefold.testing.database import Seed, check_server
from twelvefold.testing.model import Reply

PARALLEL = 4


def crash_matrix(
    workflow: Workflow[Any] | str | Sequence[Workflow[Any] | str],
    input: str,
    *,
    replies: Sequence[Reply] | Mapping[str, Sequence[Reply]] | None = None,
    principal: str = "tester",
    database: str = "",
    setup: str = "",
    seed: Seed = False,
    answers: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> CrashReport:
    """Kill a run of a workflow at every boundary, restart it, and compare the rows.

    A process drives the run and is killed with SIGKILL: before and after each commit, around each
    reply of the model, and after each statement of a tool. Another process continues the run to
    its end. The rows of the workflow's tables, the mails, and the calls with their results are
    compared with those of an undisturbed run.

    `workflow` is a workflow of an importable module or its path, as in `shop:workflow`; the first
    of several is run. `replies` are the replies of the model, texts and calls, or those of each
    workflow by its name; without them the demo model replies. Approvals are given, and timers end;
    `answers` are the payloads of events by key, and the answers to questions by tool.

    `database` is the URL of a MySQL or MariaDB server, on which temporary databases are created;
    without it SQLite files are used. `setup` is SQL that runs first; `seed` are records for the
    workflow's seed, True for its own. `settings` are fields of `Settings`. `ignore` are columns
    that are not compared, as in `orders.created_at`; those that differ in undisturbed runs are
    ignored anyway. A server skips the AUTO_INCREMENT numbers of rows that it has rolled back: their
    column is compared by its order, other columns and results that have such a number must be in
    `ignore`, as in `calls of order.result`. Raises ValueError if undisturbed runs differ otherwise,
    or do not end, and for an invalid argument.

    Example:
        from twelvefold.testing import call, crash_matrix

        report = crash_matrix(
            "examples.shopping:workflow",
            "Milk, please",
            replies=[call("add_item", item="milk"), "Done."],
        )
        assert report.ok, report
    """
    given = parse_workflows(workflow)
    check_scenario(input, principal)
    check_replies(replies)
    check_settings(settings)
    server = check_server(database)
    scenario = Scenario(
        tuple(map(locate, given)),
        input,
        replies,
        principal,
        setup,
        seed,
        answers or {},
        settings or {},
    )
    check_sendable(scenario)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tw_crash_"))
        width = max(1, min(PARALLEL, os.cpu_count() or 1))
        lanes = [stack.enter_context(Lane(scenario)) for _ in range(width)]
        lease_s = Settings(workflows=(), **scenario.settings).lease_s
        return _Matrix(lanes, server, Path(directory), lease_s).report(ignore)


def locate(workflow: Workflow[Any] | str) -> WorkflowPath:
    """Return where a workflow is. Raises ValueError if no module has it under a name."""
    if isinstance(workflow, str):
        module, _, name = workflow.partition(":")
        return WorkflowPath(module, name or "workflow")
    found = [
        (module, name)
        for module in list(sys.modules.values())
        for name, value in list(vars(module).items())
        if value is workflow and module.__name__ != "__main__"
    ]
    if not found:
        raise ValueError(
            f"workflow {workflow.name!r} is in no module, so that no other process can import it; "
            "assign it to a name at the top of a module"
        )
    own = {tool.function.__module__ for tool in workflow.tools}
    place, name = next((one for one in found if one[0].__name__ in own), found[0])
    return WorkflowPath(place.__name__, name, getattr(place, "__file__", None) or "")


class Lane:
    """A process that has imported the workflows and forks a process for each job."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._wire: Any = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Lane":
        self._wire, theirs = Pipe()
        command = [sys.executable, "-m", "twelvefold.testing.crash.process", str(theirs.fileno())]
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and a module of this package
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**read_environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        self._wire.send([*sys.path])
        self._wire.send(self._scenario)
        return self

    def __exit__(self, *error: object) -> None:
        self._wire.close()
        if self._process is not None:
            self._process.wait()

    def ready(self) -> None:
        """Wait for the imports. Raises ValueError if one fails."""
        try:
            problem = self._wire.recv()
        except EOFError:
            problem = "the process that imports the workflow ended"
        if problem:
            raise ValueError(f"the workflow cannot be imported in another process:\n{problem}")

    def run(self, job: Job) -> Done:
        """Return what became of a job in a process of its own."""
        try:
            self._wire.send(job)
            done: Done = self._wire.recv()
        except (EOFError, OSError) as error:
            raise ValueError("the process that starts the others has ended") from error
        return done


class _Matrix:
    def __init__(self, lanes: Sequence[Lane], server: str, directory: Path, lease_s: float) -> None:
        self._lanes = lanes
        # When the next process starts, by the clock of the database, the lease is over.
        self._later_us = round((lease_s + 1) * 1_000_000)
        self._server = server
        self._directory = directory
        self._numbers = count()

    def report(self, ignore: Collection[str]) -> CrashReport:
        for lane in self._lanes:
            lane.ready()
        first = self._undisturbed(self._lanes[0])
        second = self._undisturbed(self._lanes[0])
        baseline = Baseline(_ending(first), _ending(second), ignore)
        places = range(1, len(first.places) + 1)
        boundaries = self._spread(lambda lane, place: self._trial(lane, place, baseline), places)
        return CrashReport(tuple(boundaries), baseline.status, tuple(sorted(baseline.ignored)))

    def _spread(
        self, work: Callable[[Lane, int], Boundary], places: Sequence[int]
    ) -> list[Boundary]:
        """Do the trials in all lanes at once."""
        free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            free.put(lane)

        def one(place: int) -> Boundary:
            lane = free.get()
            try:
                return work(lane, place)
            finally:
                free.put(lane)

        with ThreadPoolExecutor(len(self._lanes)) as threads:
            return list(threads.map(one, places))

    def _undisturbed(self, lane: Lane) -> Done:
        with self._database(lane) as url:
            done = lane.run(Drive(url))
        if done.result is None:
            raise ValueError(f"the run without a kill did not end:\n{done.error}")
        return done

    def _trial(self, lane: Lane, place: int, baseline: Baseline) -> Boundary:
        with self._database(lane) as url:
            killed = lane.run(Drive(url, place))
            name = killed.places[-1] if killed.places else f"place {place}"
            if killed.result is not None:
                return Boundary(name, problem="the process was not killed: the run took other ways")
            if killed.error:
                return Boundary(name, problem=killed.error)
            done = lane.run(Drive(url, start_us=killed.clock_us + self._later_us))
        if done.result is None:
            return Boundary(name, problem=done.error or "the next process did not end in time")
        return baseline.compare(name, done.result)

    @contextmanager
    def _database(self, lane: Lane) -> Iterator[str]:
        """Create a database for one trial."""
        if self._server:
            url = _result(lane.run(CreateDatabase(self._server)))
            try:
                yield url
            finally:
                _result(lane.run(DropDatabase(self._server, url)))
            return
        path = self._directory / f"{next(self._numbers)}.db"
        copyfile(self._template(lane), path)
        yield f"sqlite:///{path}"
        path.unlink()

    def _template(self, lane: Lane) -> Path:
        template = self._directory / "template.db"
        if not template.exists():
            _result(lane.run(CreateDatabase("", str(template))))
        return template


def _result(done: Done) -> Any:
    if done.error or done.signal:
        raise ValueError(f"the database cannot be prepared:\n{done.error}")
    return done.result


def _ending(done: Done) -> Ending:
    ending: Ending = done.result
    return ending
