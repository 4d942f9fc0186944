"""Steps that report their time, in a process that serves metrics."""

import time

from twelvefold.core import Listener, Workflow
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.engine.step import step
from twelvefold.observe import metrics


async def measured_step(
    services: Services, held: HeldRun, workflow: Workflow, listener: Listener
) -> HeldRun:
    """Do as `step`, and report its time."""
    started_at = time.monotonic()
    try:
        return await step(services, held, workflow, listener)
    finally:
        if metrics.active is not None:
            metrics.active.step(workflow.name, time.monotonic() - started_at)
