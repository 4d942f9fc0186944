"""Twelvefold as a contender: engine, client and store, as `boot` opens them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.asking import course, wish
from bench.contender import Contender, Options, main
from bench.processes import WORKFLOW
from twelvefold import Principal
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.observe.log import start_logging


class Durable(Contender):
    """Starts and drives runs of `bench.workload` in this process."""

    def __init__(self, services: Services, tag: str) -> None:
        self._services = services
        self._tag = tag
        self._thread: ThreadId | None = None

    async def run(self, number: int) -> None:
        await self._drive(f"{self._tag}-{number}", number, None)

    async def turn(self, number: int) -> None:
        self._thread = (await self._drive(f"{self._tag}-turns", number, self._thread)).thread

    async def _drive(self, student: str, number: int, thread: ThreadId | None) -> RunId:
        message = {"type": "message", "role": "user", "content": wish(course(number))}
        request = RunRequest(
            workflow="bench", principal=Principal(student), items=[message], thread=thread
        )
        held = await start_run(self._services, request)
        outcome = await drive(self._services, held, NullListener())
        assert outcome.status == "completed", outcome
        return held.run


def environment(options: Options) -> dict[str, str]:
    """Return the settings of the process."""
    return {
        "DATABASE_URL": options.database_url,
        "OPENAI_BASE_URL": options.base_url,
        "OPENAI_MODEL": options.model,
        # The other contenders send a long conversation whole, too.
        "OPENAI_CONTEXT_TOKENS": "1000000",
        "WORKFLOWS": WORKFLOW,
        "LEASE_S": "600",
    }


@asynccontextmanager
async def open_durable(options: Options) -> AsyncIterator[Contender]:
    # The log is on, as in a worker; its lines go to the null device.
    with open(os.devnull, "w") as sink:
        start_logging(sink, format="json", level="info", release="bench")
        async with open_services(Settings.from_environ(environment(options))) as services:
            yield Durable(services, options.tag)


if __name__ == "__main__":
    main(open_durable)
