"""Faults of the mail server."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.scenes.scene import Scene
from tests.acceptance.chaos.terms import SHORT, Terms

PART_S = 12.0
"""How long each of a fault's two forms lasts, at least."""
LONGEST_PART_S = 60.0
MAILS = 10
"""How many mails each form has to reach within that."""
DEFERRED = '"mail_deferred"'


class MailRefused(Scene):
    """The mail server rejects connections, then recipients, with temporary errors."""

    name: ClassVar[str] = "smtp-refusing"
    answers: ClassVar[tuple[dict[str, str | None], ...]] = (
        {"CONNECT": "421 4.3.2 come again later"},
        {"RCPT": "451 4.3.0 come again later"},
    )

    def __init__(self) -> None:
        super().__init__(Terms(SHORT))

    async def faults(self, arena: Arena) -> None:
        for answers in self.answers:
            arena.sink.answers = answers
            await _lasts(lambda: self.seen(arena))
        arena.sink.answers = {}
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return arena.log_lines().count(DEFERRED)


class MailDies(MailRefused):
    """The mail server closes connections: after the mail without a response, or at DATA."""

    name: ClassVar[str] = "smtp-dying-after-data"
    answers = ({".": ""}, {"DATA": ""})


class MailSlow(Scene):
    """Each response of the mail server takes two seconds."""

    name: ClassVar[str] = "smtp-slow"

    def __init__(self) -> None:
        super().__init__(Terms(SHORT))
        self._mails = 0

    async def faults(self, arena: Arena) -> None:
        arena.sink.pause_s = 2.0
        await _lasts(lambda: len(arena.sink.mails))
        arena.sink.pause_s = 0.0
        self._mails = len(arena.sink.mails)
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return self._mails


async def _lasts(count: Callable[[], int]) -> None:
    """Wait until a form of the fault, which begins now, has reached enough mails."""
    enough = count() + MAILS
    await asyncio.sleep(PART_S)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_PART_S):
            while count() < enough:
                await asyncio.sleep(1)
