"""A worker process with a scripted model."""

import asyncio
import logging
from dataclasses import replace

from tests.acceptance.families.workflow import PacedModel, script
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.worker.loop import Worker

LEASE_S = 2.0


def run_worker(url: str) -> None:
    """Drive queued runs until the process is killed."""
    logging.disable()
    asyncio.run(_work(url))


async def _work(url: str) -> None:
    settings = Settings.from_environ(
        {
            "DATABASE_URL": url,
            "WORKFLOWS": "tests.acceptance.families.workflow:boss",
            "LEASE_S": f"{LEASE_S:g}",
            "MAX_RUNS": "16",
            "MAX_ATTEMPTS": "1000",  # however often workers are killed at one step
        }
    )
    async with open_services(settings, with_model=False) as opened:
        services = replace(opened, model=PacedModel(script))
        await Worker(services, settings.max_runs).run(asyncio.Event())
