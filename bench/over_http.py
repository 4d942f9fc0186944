"""Twelvefold as a service: the CPU time is that of `twelvefold web`, which runs as a child."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from bench.asking import course, wish
from bench.bare_loop import open_session
from bench.cold_start import twelvefold, web_server
from bench.contender import Contender, Options, main
from bench.durable import environment
from bench.system import cpu_s


class OverHTTP(Contender):
    """Sends `POST /v1/responses` per run; the turns of a conversation name their `conversation`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, pid: int, key: str, options: Options
    ) -> None:
        self._session = session
        self._url = f"{url}/v1/responses"
        self._pid = pid
        self._headers = {"authorization": f"Bearer {key}"}
        self._options = options
        self._conversations_url = f"{url}/v1/conversations"
        self._id = ""

    async def run(self, number: int) -> None:
        await self._send(number, {})

    async def turn(self, number: int) -> None:
        if not self._id:
            async with self._session.post(
                self._conversations_url, json={}, headers=self._headers
            ) as response:
                self._id = (await response.json())["id"]
        await self._send(number, {"conversation": self._id})

    async def _send(self, number: int, target: dict[str, str]) -> None:
        message = wish(course(number))
        body = {"model": "bench", "input": message, "stream": self._options.streamed, **target}
        async with self._session.post(self._url, json=body, headers=self._headers) as response:
            text = await response.text()
        assert '"status":"completed"' in text.replace(" ", ""), text[-500:]

    def cpu_s(self) -> float:
        return cpu_s(self._pid)


@asynccontextmanager
async def open_over_http(options: Options) -> AsyncIterator[Contender]:
    settings = {**os.environ, **environment(options)}
    key = await asyncio.to_thread(_create_key, options.tag, settings)
    with web_server(twelvefold("web"), settings) as web:
        async with open_session() as session:
            yield OverHTTP(session, web.url, web.process.pid, key, options)


def _create_key(name: str, settings: dict[str, str]) -> str:
    command = [sys.executable, *twelvefold("keys", "create", name)]
    return subprocess.check_output(command, env=settings, text=True).strip()


if __name__ == "__main__":
    main(open_over_http)
