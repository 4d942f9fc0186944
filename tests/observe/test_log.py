"""What a log line holds, and what becomes of it when nobody reads any more."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator

import pytest

from twelvefold.observe.log import LogFormat, bind, get_logger, start_logging

log = get_logger("twelvefold.test")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


def started(format: LogFormat = "json", *, colour: bool = False) -> io.StringIO:
    stream = io.StringIO()
    start_logging(stream, format=format, release="r1", colour=colour)
    return stream


def test_a_line_is_one_json_object_with_the_event_and_its_fields() -> None:
    stream = started()

    log.info("tool_succeeded", tool="enrol", took_ms=3)

    line = json.loads(stream.getvalue())
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "tool_succeeded",
        "logger": "twelvefold.test",
        "release": "r1",
        "tool": "enrol",
        "took_ms": 3,
    }


def test_bound_fields_are_on_every_line_inside_and_on_none_after() -> None:
    stream = started()

    with bind(run="r"), bind(thread="t"):
        log.info("inside")
    log.info("outside")

    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["run"], inside["thread"]) == ("r", "t")
    assert outside.keys().isdisjoint({"run", "thread"})


def test_a_field_never_replaces_what_every_line_has() -> None:
    stream = started()

    log.info("real", level="fake", event="fake", at="fake")

    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"]) == ("info", "real")


def test_a_traceback_stays_in_its_line() -> None:
    stream = started()

    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("tool_failed")

    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)["traceback"]
    assert told.endswith("in test_a_traceback_stays_in_its_line\nValueError")
    assert "broken" not in told


def test_what_json_cannot_hold_is_written_as_text() -> None:
    stream = started()

    log.info("odd", value=object, half="\ud800")

    assert json.loads(stream.getvalue())["value"] == "<class 'object'>"


def test_other_libraries_lines_have_the_same_form() -> None:
    stream = started()

    logging.getLogger("asyncio").warning("slow %s", "callback")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"]) == ("slow callback", "asyncio")


def test_an_exception_as_a_field_is_written_without_its_message() -> None:
    stream = started()

    log.warning("failed", error=ValueError("ann@example.org"))

    assert json.loads(stream.getvalue())["error"] == "ValueError"


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_library_brings_an_exceptions_message_into_the_log(format: LogFormat) -> None:
    stream = started(format)
    error = ValueError("ann@example.org")

    logging.getLogger("shop").error("it failed: %s", error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)

    assert "it failed: ValueError" in stream.getvalue()
    assert "Exception in ASGI application" in stream.getvalue()
    assert "ann@" not in stream.getvalue()


@pytest.mark.parametrize("debug", [False, True])
async def test_asyncio_says_what_failed_without_arguments_and_messages(debug: bool) -> None:
    stream = started()
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)

    async def fail() -> None:
        raise ValueError("ann@example.org")

    def called(said: str) -> None:
        raise ValueError(said)

    task = loop.create_task(fail(), name="of ann@example.org")
    loop.call_soon(called, "ann@example.org")
    await asyncio.wait([task])
    del task
    gc.collect()
    await asyncio.sleep(0)

    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert "Task exception was never retrieved" in events
    assert any(event.startswith("Exception in callback") for event in events)
    assert "ann@" not in stream.getvalue()


def test_of_other_libraries_what_is_below_a_warning_is_left_out() -> None:
    start_logging(stream := io.StringIO(), level="debug")

    logging.getLogger("httpx").info("HTTP Request: GET https://a.example/?mail=ann@example.org")
    logging.getLogger("asyncmy.cursors").debug("SELECT 'ann@example.org'")

    assert stream.getvalue() == ""


def test_a_logger_with_a_level_of_its_own_is_heard() -> None:
    stream = started()
    mine = logging.getLogger("shop_with_level")
    mine.setLevel(logging.INFO)

    logging.getLogger("shop_with_level.tools").info("restocked")

    assert json.loads(stream.getvalue())["event"] == "restocked"


def test_below_the_level_nothing_is_written() -> None:
    stream = started()

    log.debug("detail")

    assert stream.getvalue() == ""


def test_text_is_for_people() -> None:
    stream = started("text")

    log.warning("demo_model", why="no key is set", empty="")

    assert stream.getvalue()[9:] == 'warning demo_model why="no key is set" empty="" release=r1\n'


def test_text_has_colour_only_when_told() -> None:
    stream = started("text", colour=True)

    log.error("failed")

    assert "\x1b[31merror" in stream.getvalue()


def test_a_closed_stream_stops_nothing() -> None:
    stream = started()
    stream.close()

    log.info("nobody_reads")
