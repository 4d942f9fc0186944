"""A store that refuses commits, and the limits of the tests that use it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.engine.stage import (
    LIMITS,
    Stage,
    after_start,
)
from twelvefold.core.events import (
    Event,
)
from twelvefold.core.ids import RunId
from twelvefold.core.ports import (
    Append,
    StepTransaction,
)
from twelvefold.engine.services import Services

LAMP = {"item": "a lamp"}


FULL = "the table 'bought' is full (MySQL error 1114)"


TOO_LARGE = "the entry is larger than max_allowed_packet"


BRIEF = replace(LIMITS, retry_timeout_s=0.02)


BRIEF_TWICE = replace(BRIEF, max_attempts=2)


class Refusing:
    """Lets a store refuse the commits for which a predicate is true, as a server does."""

    def __init__(
        self, services: Services, error: Exception, when: Callable[[Append], bool]
    ) -> None:
        self._append = services.store.append
        self._error = error
        self._when = when
        self.refused = 0
        services.store.append = self.append  # type: ignore[method-assign]

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        async with self._append(change) as tx:
            yield tx
            if self._when(change):
                self.refused += 1
                raise self._error


async def story(stage: Stage, run: RunId) -> list[Event]:
    return after_start(await stage.journal(run))
