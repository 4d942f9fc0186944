"""Runs that a step starts in its own transaction."""

from collections.abc import Iterable
from typing import NamedTuple

from twelvefold.core import NewRun, RunStarted, StepTransaction
from twelvefold.engine.services import Services


class NewChild(NamedTuple):
    """A run to start in the step of the run that it belongs to."""

    run: NewRun
    started: RunStarted


def start_children(tx: StepTransaction, children: Iterable[NewChild]) -> None:
    """Write the rows of new runs in the transaction of a step."""
    for child in children:
        tx.start_child(child.run, child.started)


def notify_started(services: Services, children: Iterable[NewChild]) -> None:
    """Notify workers of runs that a commit has queued."""
    for workflow in dict.fromkeys(child.run.workflow for child in children):
        services.wake_ups.run_queued(workflow)
