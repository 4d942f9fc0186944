"""The content and format of log lines."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator

import pytest

from twelvefold.observe.escape import is_visible
from twelvefold.observe.log import LogFormat, bind, get_logger, start_logging

log = get_logger("twelvefold.test")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


def start_log(format: LogFormat = "json", *, colour: bool = False) -> io.StringIO:
    stream = io.StringIO()
    start_logging(stream, format=format, release="r1", colour=colour)
    return stream


def test_a_line_is_one_json_object_with_the_event_and_its_fields() -> None:
    stream = start_log()

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


def test_bound_fields_are_on_every_line_of_the_body_only() -> None:
    stream = start_log()

    with bind(run="r"), bind(thread="t"):
        log.info("inside")
    log.info("outside")

    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["run"], inside["thread"]) == ("r", "t")
    assert outside.keys().isdisjoint({"run", "thread"})


def test_a_field_cannot_replace_a_standard_key() -> None:
    stream = start_log()

    log.info("real", level="fake", event="fake", at="fake")

    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"]) == ("info", "real")


def test_a_traceback_is_a_field_of_its_line() -> None:
    stream = start_log()

    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("tool_failed")

    (line,) = stream.getvalue().splitlines()
    traceback = json.loads(line)["traceback"]
    assert traceback.endswith("in test_a_traceback_is_a_field_of_its_line\nValueError")
    assert "broken" not in traceback


def test_values_without_a_json_form_become_strings() -> None:
    stream = start_log()

    log.info("odd", value=object, half="\ud800")

    assert json.loads(stream.getvalue())["value"] == "<class 'object'>"


def test_lines_of_other_libraries_have_the_same_format() -> None:
    stream = start_log()

    logging.getLogger("asyncio").warning("slow %s", "callback")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"]) == ("slow callback", "asyncio")


def test_an_exception_as_a_field_has_no_message() -> None:
    stream = start_log()

    log.warning("failed", error=ValueError("ann@example.org"))

    assert json.loads(stream.getvalue())["error"] == "ValueError"


@pytest.mark.parametrize("format", ["json", "text"])
def test_messages_of_exceptions_are_removed_from_lines_of_libraries(format: LogFormat) -> None:
    stream = start_log(format)
    error = ValueError("ann@example.org")

    logging.getLogger("shop").error("it failed: %s", error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)

    assert "it failed: ValueError" in stream.getvalue()
    assert "Exception in ASGI application" in stream.getvalue()
    assert "ann@" not in stream.getvalue()


@pytest.mark.parametrize("debug", [False, True])
async def test_lines_of_asyncio_have_no_arguments_and_messages(debug: bool) -> None:
    stream = start_log()
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)

    async def fail() -> None:
        raise ValueError("ann@example.org")

    def callback(text: str) -> None:
        raise ValueError(text)

    task = loop.create_task(fail(), name="of ann@example.org")
    loop.call_soon(callback, "ann@example.org")
    await asyncio.wait([task])
    del task
    gc.collect()
    await asyncio.sleep(0)

    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert "Task exception was never retrieved" in events
    assert any(event.startswith("Exception in callback") for event in events)
    assert "ann@" not in stream.getvalue()


def test_other_libraries_log_only_warnings_and_errors() -> None:
    start_logging(stream := io.StringIO(), level="debug")

    logging.getLogger("httpx").info("HTTP Request: GET https://a.example/?mail=ann@example.org")
    logging.getLogger("asyncmy.cursors").debug("SELECT 'ann@example.org'")

    assert stream.getvalue() == ""


def test_a_logger_with_an_explicit_level_is_written() -> None:
    stream = start_log()
    logger = logging.getLogger("shop_with_level")
    logger.setLevel(logging.INFO)

    logging.getLogger("shop_with_level.tools").info("restocked")

    assert json.loads(stream.getvalue())["event"] == "restocked"


def test_nothing_below_the_level_is_written() -> None:
    stream = start_log()

    log.debug("detail")

    assert stream.getvalue() == ""


def test_the_text_format_has_event_and_fields() -> None:
    stream = start_log("text")

    log.warning("demo_model", why="no key is set", empty="")

    assert stream.getvalue()[9:] == 'warning demo_model why="no key is set" empty="" release=r1\n'


def test_the_text_format_can_have_colour() -> None:
    stream = start_log("text", colour=True)

    log.error("failed")

    assert "\x1b[31merror" in stream.getvalue()


def test_a_closed_stream_causes_no_error() -> None:
    stream = start_log()
    stream.close()

    log.info("not_read")


# --- values that could control a terminal or forge a line -----------------------------------------


HOSTILE = (
    *("\x1b[2J\x1b]0;owned\x07", "a\rb", "a\nb", "\u202eback", "a\u2028b", "a\x85b", "a\x9bb"),
    *("a\x7fb", "a\u200bb", "a\ufe0fb", "a\U000e0041b", "a\ud800b", "a\u00a0b", "\u0301a", "שלום"),
    *('"', "\\", 'a" level="error', "", "a b", "\ue000", "a\u0301\u0301\u0301\u0301\u0301\u0301"),
)


def write_hostile(value: str) -> None:
    """Log lines with the value in each of their parts."""
    with bind(**{f"bound{value}": value}):
        event, fields = f"event{value}", {f"field{value}": value, "nested": {value: [value]}}
        log.info(event, **fields)
        logging.getLogger("library").warning("from a library: %s", value)
        try:
            raise ValueError(f"{value}\n12:00:00 info    forged")
        except ValueError:
            log.exception("failed", value=value)


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("colour", [False, True])
def test_no_value_controls_a_terminal(format: LogFormat, number: int, colour: bool) -> None:
    stream = start_log(format, colour=colour)

    write_hostile(HOSTILE[number])

    text = stream.getvalue()
    for code in ("\x1b[36m", "\x1b[33m", "\x1b[31m", "\x1b[0m"):
        text = text.replace(code, "") if colour else text
    assert all(map(is_visible, text.replace("\n", "")))


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_value_forges_a_line(number: int) -> None:
    stream = start_log("text")

    write_hostile(HOSTILE[number])

    lines = stream.getvalue().split("\n")[:-1]
    heads = [line for line in lines if not line.startswith("  | ")]
    assert [line[9:16].strip() for line in heads] == ["info", "warning", "error"]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_json_preserves_every_value(number: int) -> None:
    stream, value = start_log(), HOSTILE[number]

    write_hostile(value)

    lines = [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]
    assert (lines[0]["event"], lines[0][f"field{value}"]) == (f"event{value}", value)
    assert lines[0]["nested"] == {value: [value]}
    assert (lines[2]["event"], lines[2]["value"]) == ("failed", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {("a", 1): 2}, {1: float("nan")}])
def test_a_value_unknown_to_json_becomes_a_string(value: object) -> None:
    stream = start_log()

    log.info("odd", value=value)

    line = stream.getvalue()
    assert json.loads(line, parse_constant=pytest.fail)["value"] == str(value)


def test_a_recursive_value_becomes_a_string() -> None:
    stream, value = start_log(), list[object]()
    value.append(value)

    log.info("odd", value=value)

    assert json.loads(stream.getvalue())["value"] == "[[...]]"


def test_a_right_to_left_word_does_not_reorder_the_line() -> None:
    stream = start_log("text")

    log.info("asked", who="דוד", took_ms=5)

    assert (
        stream.getvalue()[9:] == 'info    asked who="\\u05d3\\u05d5\\u05d3" took_ms=5 release=r1\n'
    )
