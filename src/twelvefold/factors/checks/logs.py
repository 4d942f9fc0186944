"""XI, logs: a stream of events on standard output, and nothing else."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from twelvefold.factors.harness.http_client import get, post
from twelvefold.factors.harness.machine_load import scaled
from twelvefold.factors.harness.processes import Running
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene

AT_ONCE_S = 5.0
CLOSED_PIPE = 141
"""A good end, too: it tells that nobody read the output to its end."""
FIELDS = {"at", "level", "event", "logger"}


async def logs(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.migrated()
    async with scene.model() as model, _pipe() as pipe:
        settings = scene.clerk(url, model, WEB_DRIVES="background")
        with os.fdopen(pipe.write, "wb", buffering=0) as stdout:
            web = await scene.release.web(settings, watched=True, stdout=stdout)
        lines = await _lines(pipe.reader, "web_ready")
        witness.expect_in_time(
            bool(lines) and b"web_ready" in lines[-1],
            "a line of the log can be read while the process goes on: nothing is held back",
            f"web is ready, and {AT_ONCE_S:g} s later its standard output does not say so",
        )
        worker = await scene.release.start("worker", settings=settings, watched=True)
        await post(web.port, "/v1/responses", model="clerk", input="book logs")
        lines += await _lines(pipe.reader, "run_finished")
        wrong = [line for line in lines if not _is_event(line)]
        witness.expect(
            bool(lines) and not wrong,
            f"each of {len(lines)} lines is one JSON object with {', '.join(sorted(FIELDS))}",
            f"of {len(lines)} lines {len(wrong)} are no JSON object of the log's: {wrong[:1]}",
        )
        pipe.close()
        await _goes_on(web, witness)
        await worker.end(signal.SIGTERM)
    watched = (*web.watched(), *worker.watched())
    files = {one["open"] for one in watched if one.get("writes")}
    files = {one for one in files if not one.startswith((os.devnull, *_own(url)))}
    witness.expect(
        not files,
        "web and a worker beside it opened no file to write to",
        f"web or a worker opened {', '.join(sorted(files))} to write to",
    )


def _own(url: str) -> tuple[str, ...]:
    """The embedded database's file, the one that is written to."""
    return (url.removeprefix("sqlite:///"),) if url.startswith("sqlite") else ()


async def _goes_on(web: Running, witness: Witness) -> None:
    """Nobody reads its output any more; it works and ends as before."""
    answer = await post(web.port, "/v1/responses", model="clerk", input="book unread")
    health = await get(web.port, "/healthz")
    status = await web.end(signal.SIGTERM)
    witness.expect(
        (answer.status, answer.body.get("status"), health.status) == (200, "completed", 200)
        and status in (0, CLOSED_PIPE),
        "with its standard output closed at the other end it drove another run; SIGTERM ended it "
        f"with {status}",
        f"with its standard output closed a run gave HTTP {answer.status}, the exit was {status}",
    )


def _is_event(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and found.keys() >= FIELDS


@dataclass(slots=True)
class _Pipe:
    """What a process writes to, and we read."""

    reader: asyncio.StreamReader
    write: int
    transport: asyncio.ReadTransport

    def close(self) -> None:
        self.transport.close()


@asynccontextmanager
async def _pipe() -> AsyncIterator[_Pipe]:
    read, write = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
    )
    try:
        yield _Pipe(reader, write, transport)
    finally:
        transport.close()


async def _lines(reader: asyncio.StreamReader, last: str) -> list[bytes]:
    """The lines up to one about this event, as far as they come in time."""
    lines: list[bytes] = []
    try:
        async with asyncio.timeout(scaled(AT_ONCE_S)):
            while line := await reader.readline():
                lines.append(line)
                if f'"{last}"'.encode() in line:
                    break
    except TimeoutError:
        pass
    return lines
