"""When log lines reach the stream."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from twelvefold.observe.log import get_logger, start_logging

log = get_logger("twelvefold.test")


class CountingStream(io.StringIO):
    """A stream that counts the writes, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.error: Exception | None = None

    def write(self, text: str) -> int:
        self.writes += 1
        if self.error:
            raise self.error
        return super().write(text)

    @property
    def lines(self) -> int:
        return self.getvalue().count("\n")


@pytest.fixture
def stream() -> Iterator[CountingStream]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    start_logging(stream := CountingStream(), per_turn=True)
    yield stream
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


def test_a_line_outside_an_event_loop_is_written_at_once(stream: CountingStream) -> None:
    log.info("one")

    assert stream.lines == 1


async def test_the_lines_of_a_turn_are_written_at_once(stream: CountingStream) -> None:
    log.info("one")
    log.info("two")
    before = stream.writes

    await asyncio.sleep(0)
    after = stream.lines
    log.info("three")
    await asyncio.sleep(0)

    assert (before, after, stream.lines, stream.writes) == (0, 2, 3, 2)


@pytest.mark.parametrize("level", ["warning", "error"])
async def test_a_warning_is_written_at_once_after_the_lines_before(
    stream: CountingStream, level: str
) -> None:
    log.info("one")

    getattr(log, level)("two")

    assert [line.count("one") for line in stream.getvalue().splitlines()] == [1, 0]


async def test_a_line_of_a_thread_is_written_at_once(stream: CountingStream) -> None:
    log.info("one")

    await asyncio.get_running_loop().run_in_executor(None, log.info, "two")

    assert stream.lines == 2


def test_lines_of_a_loop_that_is_gone_are_written_with_the_next_line(
    stream: CountingStream,
) -> None:
    async def log_and_stop() -> None:
        asyncio.get_running_loop().stop()
        log.info("one")

    loop = asyncio.new_event_loop()
    task = loop.create_task(log_and_stop())
    loop.run_forever()
    loop.close()
    assert task.done()
    assert stream.lines == 0

    asyncio.run(_log_twice())

    assert stream.lines == 3


async def _log_twice() -> None:
    log.info("two")
    log.info("three")
    await asyncio.sleep(0)


@pytest.mark.parametrize("error", [BrokenPipeError(), BlockingIOError(), ValueError("closed")])
async def test_a_stream_that_takes_nothing_loses_the_lines_only(
    stream: CountingStream, error: Exception
) -> None:
    stream.error = error
    log.info("lost")
    await asyncio.sleep(0)

    stream.error = None
    log.info("kept")
    await asyncio.sleep(0)

    assert stream.lines == 1
    assert "kept" in stream.getvalue()


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise ValueError", "pass"])
def test_the_lines_of_the_last_turn_are_written_at_exit(end: str) -> None:
    script = f"""
import asyncio, sys
from twelvefold.observe.log import get_logger, start_logging
start_logging(sys.stdout, per_turn=True)
async def main():
    get_logger("twelvefold.test").info("last")
    {end}
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert '"event": "last"' in done.stdout


async def test_a_disabled_level_is_reported(stream: CountingStream) -> None:
    assert [log.is_enabled("info"), log.is_enabled("debug")] == [True, False]


def test_a_forked_process_does_not_write_the_lines_before_the_fork() -> None:
    script = """
import asyncio, os, sys
from twelvefold.observe.log import get_logger, start_logging
start_logging(sys.stdout, per_turn=True)
log = get_logger("twelvefold.test")
async def main():
    log.info("parent")
    if not (child := os.fork()):
        log.warning("child")
        os._exit(0)
    os.waitpid(child, 0)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events == ["child", "parent"]
