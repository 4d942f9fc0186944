"""Runs that a step starts in its own transaction."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from twelvefold.core import NewRun, RunStarted, StepTransaction
from twelvefold.engine.services import Services
from twelvefold.observe import metrics


class NewChild(NamedTuple):
    """A run to start in the step of the run that it belongs to."""

    run: NewRun
    started: RunStarted


def start_children(tx: StepTransaction, children: Iterable[NewChild]) -> None:
    """Write the rows of new runs in the transaction of a step."""
    for child in children:
        tx.start_child(child.run, child.started)


def notify_started(services: Services, children: Sequence[NewChild]) -> None:
    """Notify workers of runs that a commit has queued, and count them."""
    if metrics.active is not None:
        for child in children:
            metrics.active.recorded(child.run.workflow, [child.started])
    for workflow in dict.fromkeys(child.run.workflow for child in children):
        services.wake_ups.run_queued(workflow)
