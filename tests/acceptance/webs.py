"""Real `twelvefold web` processes on one database, each on a port of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tests.acceptance.crash import ENTRY_POINT, ROOT, Process
from tests.ports import free_port

READY_S = 240.0
LEASE_S = 2


class Web:
    """A process that can be killed and started again at the same address."""

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self._port = free_port()
        self._settings = settings
        self._log = log
        self._process: Process | None = None
        self.url = f"http://127.0.0.1:{self._port}/v1"
        # The client asks once: what a test does not see again it has to ask for itself.
        self.sdk = AsyncOpenAI(
            base_url=self.url,
            api_key="none",
            max_retries=0,
            _strict_response_validation=True,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when it takes requests."""
        with self._log.open("ab") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, "web"), env=self._environment(), stdout=log
            )
        async with asyncio.timeout(READY_S):
            while process.returncode is None and not await self._listens():
                await asyncio.sleep(0.02)
        assert process.returncode is None, self._log.read_text()

    async def end(self, how: signal.Signals) -> int:
        """Send a signal; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(how)
        return await self._process.wait()

    async def close(self) -> None:
        await self.sdk.close()
        if self._process and self._process.returncode is None:
            await self.end(signal.SIGKILL)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionError:
            return False
        writer.close()
        return True

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path),
            "OPENAI_MODEL": "mock",
            "LEASE_S": str(LEASE_S),
            "PORT": str(self._port),
            "WEB_DRIVES": "background",
            **self._settings,
        }


@asynccontextmanager
async def webs(count: int, settings: Mapping[str, str], logs: Path) -> AsyncIterator[list[Web]]:
    """So many processes with the same settings, killed at the end."""
    async with AsyncExitStack() as stack:
        started = []
        for number in range(count):
            web = Web(settings, logs / f"web-{number}.log")
            stack.push_async_callback(web.close)
            await web.start()
            started.append(web)
        yield started


async def events_of(stream: Any, few: int | None = None) -> list[dict[str, Any]]:
    """The events of a stream as plain objects: all of them, or a few; then it is closed."""
    told: list[dict[str, Any]] = []
    async for event in stream:
        told.append(event.model_dump(mode="json"))
        if len(told) == few:
            break
    await stream.close()
    return told


async def replayed(web: Web, id: str, after: int | None = None) -> list[dict[str, Any]]:
    """A response's events as this process tells them, to the end."""
    more: Any = {} if after is None else {"starting_after": after}
    return await events_of(await web.sdk.responses.retrieve(id, stream=True, **more))
