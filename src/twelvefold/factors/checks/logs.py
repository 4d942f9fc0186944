"""Factor XI, logs: a stream of events on standard output, and no files."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from twelvefold.factors.checks.telemetry import check_telemetry
from twelvefold.factors.harness import FakeModelServer, Process, Report, TestBed

LINE_TIMEOUT_S = 20.0
EXIT_BROKEN_PIPE = 141
"""Also correct: it reports that the output could not be written to the end."""
FIELDS = {"at", "level", "event", "logger"}


async def check_logs(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_migrated()
    async with FakeModelServer().serve() as model, _open_pipe() as pipe:
        settings = bed.process_settings(url, model, WEB_DRIVES="background")
        web = await _start_web(bed, settings, pipe)
        lines = await _read_lines(bed, pipe.reader, "web_ready")
        report.expect_in_time(
            bool(lines) and b"web_ready" in lines[-1],
            "log lines can be read while web runs: the output is not buffered",
            f"web is ready, and its standard output lacks the event {LINE_TIMEOUT_S:g} s later",
        )
        worker = await bed.processes.start("worker", settings=settings, audited=True)
        await web.http.post("/v1/responses", model="bookings", input="book logs")
        lines += await _read_lines(bed, pipe.reader, "run_finished")
        _check_format(lines, report)
        pipe.close()
        await _check_closed_pipe(web, report)
        await worker.stop(signal.SIGTERM)
    _check_files(url, [web, worker], report)
    await check_telemetry(bed, report)


async def _start_web(bed: TestBed, settings: dict[str, str], pipe: "_Pipe") -> Process:
    with os.fdopen(pipe.write_fd, "wb", buffering=0) as stdout:
        return await bed.processes.start_web(settings, audited=True, stdout=stdout)


async def _read_lines(bed: TestBed, reader: asyncio.StreamReader, last: str) -> list[bytes]:
    """Read up to a line with this event, or until the timeout."""
    lines: list[bytes] = []
    try:
        async with bed.timeout(LINE_TIMEOUT_S):
            while line := await reader.readline():
                lines.append(line)
                if f'"{last}"'.encode() in line:
                    break
    except TimeoutError:
        pass
    return lines


def _check_format(lines: list[bytes], report: Report) -> None:
    wrong = [line for line in lines if not _is_event(line)]
    report.expect(
        bool(lines) and not wrong,
        f"each of {len(lines)} lines is a JSON object with {', '.join(sorted(FIELDS))}",
        f"{len(wrong)} of {len(lines)} lines are not JSON objects of the log: {wrong[:1]}",
    )


def _is_event(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and found.keys() >= FIELDS


async def _check_closed_pipe(web: Process, report: Report) -> None:
    """Expect that web works and stops as before after the reader closed the pipe."""
    run = await web.http.post("/v1/responses", model="bookings", input="book unread")
    health = await web.http.get("/healthz")
    status = await web.stop(signal.SIGTERM)
    works = (run.status, run.body.get("status"), health.status) == (200, "completed", 200)
    report.expect(
        works and status in (0, EXIT_BROKEN_PIPE),
        f"after its standard output was closed web completed another run; SIGTERM: exit status "
        f"{status}",
        f"after its standard output was closed a run returned HTTP {run.status}; the exit status "
        f"was {status}",
    )


def _check_files(url: str, processes: list[Process], report: Report) -> None:
    database = (url.removeprefix("sqlite:///"),) if url.startswith("sqlite") else ()
    entries = [entry for process in processes for entry in process.audit_log()]
    written = {entry["open"] for entry in entries if entry.get("writes")}
    files = sorted(path for path in written if not path.startswith((os.devnull, *database)))
    report.expect(
        not files,
        "web and a worker opened no file for writing",
        f"web or a worker opened {', '.join(files)} for writing",
    )


@dataclass(slots=True)
class _Pipe:
    """A pipe from a process to this one."""

    reader: asyncio.StreamReader
    write_fd: int
    transport: asyncio.ReadTransport

    def close(self) -> None:
        self.transport.close()


@asynccontextmanager
async def _open_pipe() -> AsyncIterator[_Pipe]:
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    try:
        yield _Pipe(reader, write_fd, transport)
    finally:
        transport.close()
