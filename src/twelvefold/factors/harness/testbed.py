"""The resources that all checks share: processes, databases and fake servers."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twelvefold.boot import release_of
from twelvefold.config import Settings
from twelvefold.factors.harness.databases import TemporaryDatabases
from twelvefold.factors.harness.fake_model import FakeModelServer
from twelvefold.factors.harness.machine_load import MachineLoad
from twelvefold.factors.harness.processes import ReleaseProcesses
from twelvefold.factors.harness.workflow import IMPORT_PATH

WAIT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class TestBed:
    """`settings` and `environ` are those of the command itself, with the attached services."""

    __test__ = False  # pytest collects classes by this prefix

    settings: Settings
    environ: Mapping[str, str]
    load: MachineLoad
    processes: ReleaseProcesses
    databases: TemporaryDatabases
    directory: Path
    startup_measured: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the start of a process has been timed. Other checks wait for it."""

    @property
    def release_id(self) -> str:
        return release_of(self.settings)

    def process_settings(self, url: str, model: FakeModelServer, **more: str) -> dict[str, str]:
        """Return the settings of a process that serves the workflow with the fake model."""
        return {
            "DATABASE_URL": url,
            "WORKFLOWS": IMPORT_PATH,
            "OPENAI_BASE_URL": model.base_url("model"),
            "WEB_DRIVES": "foreground",
            **more,
        }

    def timeout(self, limit_s: float) -> asyncio.Timeout:
        """Return `asyncio.timeout` with the limit scaled to this machine."""
        return asyncio.timeout(self.load.scaled(limit_s))

    async def wait_until(
        self, condition: Callable[[], Coroutine[Any, Any, bool]], description: str
    ) -> None:
        """Poll the condition. Raises TimeoutError with the description."""
        try:
            async with self.timeout(WAIT_TIMEOUT_S):
                while not await condition():  # noqa: ASYNC110 - other processes set no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"not within {WAIT_TIMEOUT_S:g} s: {description}") from None


@asynccontextmanager
async def open_test_bed(
    settings: Settings, environ: Mapping[str, str], load: MachineLoad
) -> AsyncIterator[TestBed]:
    """Yield a test bed; kills its processes and drops its databases at the end."""
    async with AsyncExitStack() as stack:
        prefix = "twelvefold-factors-"
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        databases = TemporaryDatabases(settings, directory)
        stack.push_async_callback(databases.close)
        processes = ReleaseProcesses(environ, directory, load)
        stack.push_async_callback(processes.close)
        yield TestBed(settings, environ, load, processes, databases, directory)
