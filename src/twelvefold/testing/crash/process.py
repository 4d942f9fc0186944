"""A process that forks one process for each job: `python -m twelvefold.testing.crash.process FD`.

It has imported the workflow, so that a fork starts in milliseconds. It has no threads.
"""

import asyncio
import importlib.util
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from twelvefold.core import Workflow
from twelvefold.testing.crash.drive import perform
from twelvefold.testing.crash.jobs import Done, Job, Scenario, WorkflowPath

JOB_TIMEOUT_S = 60
EARLY = (
    *("twelvefold.services.store.sqlite.store", "twelvefold.services.store.mysql.store"),
    *("alembic.command", "sqlalchemy.dialects.mysql", "asyncmy.auth"),
)


def main() -> None:
    """Read the search path and the scenario, then jobs, until the other side closes the pipe."""
    logging.disable(logging.CRITICAL)
    wire: Any = Connection(int(sys.argv[1]))
    sys.path[:] = wire.recv()
    scenario: Scenario = wire.recv()
    try:
        workflows = [load(path) for path in scenario.workflows]
        import_early(workflows)
    except BaseException:
        wire.send(traceback.format_exc())
        return
    wire.send("")
    while True:
        try:
            job = wire.recv()
        except EOFError:
            return
        wire.send(run(job, scenario, workflows))


def import_early(workflows: list[Workflow[Any]]) -> None:
    """Import and build here what each fork would import on its first use."""
    for module in EARLY:
        import_module(module)
    for workflow in workflows:
        for tool in workflow.tools:
            tool.prepare()


def load(path: WorkflowPath) -> Workflow[Any]:
    """Import a workflow."""
    found = getattr(_import(path), path.name)
    if not isinstance(found, Workflow):
        raise TypeError(f"{path.module}:{path.name} is no Workflow")
    return found


def _import(path: WorkflowPath) -> ModuleType:
    try:
        return import_module(path.module)
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(path.module, path.file) if path.file else None
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.module] = module
        spec.loader.exec_module(module)
        return module


def run(job: Job, scenario: Scenario, workflows: list[Workflow[Any]]) -> Done:
    """Fork a process for a job and wait for its end."""
    reader, writer = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _work(job, scenario, workflows, writer)
    writer.close()
    places: list[str] = []
    last: dict[str, Any] = {}
    for kind, value in _messages(reader):
        if kind == "place":
            places.append(value)
        last[kind] = value
    reader.close()
    _, status = os.waitpid(pid, 0)
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    result, error, clock_us = last.get("result"), last.get("error", ""), last.get("clock", 0)
    return Done(tuple(places), killed_by, result, error, clock_us)


def _messages(reader: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the process sends, until it ends."""
    with suppress(EOFError):
        while True:
            yield reader.recv()


def _work(job: Job, scenario: Scenario, workflows: list[Workflow[Any]], writer: Any) -> None:
    """Do a job in this process, and end it."""
    signal.alarm(JOB_TIMEOUT_S)
    try:

        def report(kind: str, value: Any) -> None:
            writer.send((kind, value))

        report("result", asyncio.run(perform(job, scenario, workflows, report)))
    except BaseException:
        writer.send(("error", traceback.format_exc()))
    finally:
        writer.close()
        os._exit(0)


if __name__ == "__main__":
    main()
