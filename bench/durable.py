"""The contender that keeps everything: engine, client and store, as `boot` opens them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.asking import course, wish
from bench.contender import Contender, Options, main
from twelvefold import Principal
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NullListener
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.observe.log import start_logging


class Durable:
    """Obeys `Contender`: any other process could continue the conversation."""

    def __init__(self, services: Services, tag: str) -> None:
        self._services = services
        self._tag = tag
        self._thread: ThreadId | None = None

    async def run(self, number: int) -> None:
        await self._drive(f"{self._tag}-{number}", number, None)

    async def turn(self, number: int) -> None:
        self._thread = (await self._drive(f"{self._tag}-turns", number, self._thread)).thread

    async def _drive(self, student: str, number: int, thread: ThreadId | None) -> RunId:
        said = {"type": "message", "role": "user", "content": wish(course(number))}
        driven = await start_run(
            self._services,
            RunRequest(
                workflow="enrolment", principal=Principal(student), items=[said], thread=thread
            ),
        )
        outcome = await drive(self._services, driven, NullListener())
        assert outcome.status == "completed", outcome
        return driven.run


@asynccontextmanager
async def open_durable(options: Options) -> AsyncIterator[Contender]:
    # The log is on, as a worker's is; only its last way to the terminal is cut.
    with open(os.devnull, "w") as nowhere:
        start_logging(nowhere, format="json", level="info", release="bench", per_turn=True)
        settings = Settings.from_environ(
            {
                "DATABASE_URL": options.database_url,
                "OPENAI_BASE_URL": options.base_url,
                "OPENAI_MODEL": options.model,
                # The others leave nothing out of a long conversation either.
                "OPENAI_CONTEXT_TOKENS": "1000000",
                "LEASE_S": "600",
            }
        )
        async with open_services(settings) as services:
            yield Durable(services, options.tag)


if __name__ == "__main__":
    main(open_durable)
