"""A tool's exception as the journal stores it."""

import json
import linecache

import pytest

from twelvefold.core.events import ToolError
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.engine.perform.tool_error import MESSAGE_CHARS, tool_error


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


def raising(error: BaseException) -> Tool:
    @tool(effect="pure", timeout_s=2.5)
    async def fail() -> None:
        """Fail."""
        raise error

    return fail


async def error_of(one: Tool, *, timed_out: bool = False) -> ToolError:
    try:
        await one()
    except BaseException as error:
        return tool_error(error, one, timed_out=timed_out)
    raise AssertionError("it did not fail")


async def test_type_message_and_place_are_stored() -> None:
    error = await error_of(raising(RuntimeError("no such order table")))

    assert (error.type, error.message) == ("RuntimeError", "no such order table")
    assert error.file == __file__
    assert linecache.getline(__file__, error.line).strip() == "raise error"


async def test_the_place_is_in_the_module_of_the_tool() -> None:
    @tool(effect="pure")
    async def parse() -> object:
        """Parse."""
        return json.loads("{")

    error = await error_of(parse)

    assert (error.type, error.file) == ("JSONDecodeError", __file__)


async def test_an_exception_without_a_line_of_the_tool_has_another_place() -> None:
    declared = raising(KeyError("x"))
    try:
        json.loads("{")
    except ValueError as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        elsewhere = tool_error(error, declared)

    assert elsewhere.file.startswith(json.__file__.removesuffix("__init__.py"))
    assert tool_error(KeyError("x"), declared) == ToolError("KeyError", "'x'")


async def test_the_error_of_a_tool_that_took_too_long_has_its_limit() -> None:
    error = await error_of(raising(TimeoutError()), timed_out=True)

    assert error.message == "it took longer than 2.5 s (timeout_s)"


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError("x" * 5_000), f"{'x' * (MESSAGE_CHARS - 1)}…"),
        (ValueError("\ud83d"), "\\ud83d"),
        (Unprintable(), "its message cannot be shown"),
    ],
)
async def test_a_message_is_stored_as_valid_text(raised: Exception, message: str) -> None:
    assert (await error_of(raising(raised))).message == message
