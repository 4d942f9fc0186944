"""What the checks stand on: processes, databases and stand-ins, all gone at the end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twelvefold.boot import release_of
from twelvefold.config import Settings
from twelvefold.engine.retry import retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.factors.harness import workflow as clerk
from twelvefold.factors.harness.databases import Scratch
from twelvefold.factors.harness.fake_model import StandIn
from twelvefold.factors.harness.machine_load import scaled
from twelvefold.factors.harness.processes import Release

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Scene:
    """`settings` are those of the command itself: what is attached."""

    settings: Settings
    environ: Mapping[str, str]
    release: Release
    scratch: Scratch
    directory: Path
    calm: asyncio.Event
    """Set once nothing is measured any more that other processes would slow down."""

    @property
    def release_id(self) -> str:
        return release_of(self.settings)

    @asynccontextmanager
    async def model(self) -> AsyncIterator[StandIn]:
        """A stand-in for a model's server, of one check alone."""
        async with StandIn().serving() as model:
            yield model

    def clerk(self, url: str, model: StandIn, **more: str) -> dict[str, str]:
        """The settings of a process that serves the clerk, which asks the stand-in."""
        return {
            "DATABASE_URL": url,
            "WORKFLOWS": clerk.IMPORT_PATH,
            "OPENAI_BASE_URL": model.base_url("model"),
            "WEB_DRIVES": "foreground",
            **more,
        }


@asynccontextmanager
async def open_scene(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Scene]:
    """Everything that the checks share; what they started has ended when this returns."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="twelvefold-factors-"))
        directory = Path(folder)
        scratch = Scratch(settings, directory)
        stack.push_async_callback(scratch.close)
        release = Release(environ, directory)
        stack.push_async_callback(release.close)
        yield Scene(settings, environ, release, scratch, directory, asyncio.Event())


async def until(
    holds: Callable[[], Coroutine[Any, Any, bool]], what: str, within_s: float = WAIT_S
) -> None:
    """Wait until something holds. Raises TimeoutError that says what did not."""
    try:
        async with asyncio.timeout(scaled(within_s)):
            while not await holds():  # noqa: ASYNC110 - other processes set no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"after {within_s:g} s still not: {what}") from None


async def rows(services: Services, statement: str) -> list[dict[str, Any]]:
    """What a statement selects, though a server that is kept busy may need a second try."""

    async def selected() -> list[dict[str, Any]]:
        async with services.store.read() as db:
            return list(await db.fetch_all(statement))

    return await retry_unavailable(selected, WAIT_S)


async def count(services: Services, statement: str) -> int:
    """The number that a statement selects as `n`."""
    (row,) = await rows(services, statement)
    return int(row["n"] or 0)
