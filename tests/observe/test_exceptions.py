"""Logs have the types and places of exceptions, and no text of their messages."""

import asyncio
from collections.abc import Callable

import pytest

from twelvefold.errors import ModelRejected, StoreUnavailable
from twelvefold.observe.exceptions import MAX_FRAMES, stack, summary

CANARY = "ann@example.org"


def catch(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def plain() -> None:
    raise ValueError(f"no course for {CANARY}")


def literal() -> None:
    raise KeyError("ann@example.org")


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise RuntimeError(CANARY) from error


def while_handling() -> None:
    try:
        plain()
    except ValueError:
        raise RuntimeError(CANARY)  # noqa: B904 - tests the context


def noted() -> None:
    error = ValueError(CANARY)
    error.add_note(f"it was {CANARY}")
    raise error


def grouped() -> None:
    inner = BaseExceptionGroup(CANARY, [catch(literal)])
    raise BaseExceptionGroup(CANARY, [catch(plain), inner])


def undecodable() -> None:
    CANARY.encode().join([b"\xff"] * 2).decode()


def exit_message() -> None:
    raise SystemExit(CANARY)


def unmarked() -> None:
    raise ModelRejected(f"the server refuses {CANARY!r}")


def circular() -> None:
    one, other = ValueError(CANARY), ValueError(CANARY)
    one.__cause__, other.__cause__ = other, one
    raise one


KINDS = [
    *(plain, literal, caused, while_handling, noted, grouped),
    *(undecodable, exit_message, unmarked, circular),
]


@pytest.mark.parametrize("function", KINDS, ids=lambda kind: kind.__name__)
def test_no_message_and_no_source_line_is_written(function: Callable[[], None]) -> None:
    error = catch(function)

    for text in (summary(error), stack(error)):
        assert CANARY not in text
        assert type(error).__name__ in text


def test_a_summary_has_the_type_and_the_last_place() -> None:
    line = plain.__code__.co_firstlineno + 1

    assert summary(catch(plain)) == f"ValueError ({__file__}, line {line})"
    assert summary(ValueError(CANARY)) == "ValueError"


def test_a_stack_has_each_frame_and_the_cause() -> None:
    lines = stack(catch(caused)).splitlines()

    assert [line for line in lines if not line.startswith("  ")] == [
        "RuntimeError",
        "caused by",
        "ValueError",
    ]
    assert lines[-2] == f'  File "{__file__}", line {plain.__code__.co_firstlineno + 1}, in plain'


def test_a_stack_has_the_context_and_the_group() -> None:
    assert "raised while handling" in stack(catch(while_handling))
    assert stack(catch(grouped)).count("in the group") == 3


def test_a_type_of_another_package_has_its_module() -> None:
    class CustomError(Exception):
        pass

    assert summary(CustomError(CANARY)).startswith(f"{__name__}.")
    assert summary(asyncio.QueueFull()) == "asyncio.queues.QueueFull"


def test_a_loggable_text_is_written() -> None:
    error = StoreUnavailable(f"duplicate {CANARY}").loggable("MySQL error 1062")

    assert (str(error), summary(error)) == (f"duplicate {CANARY}", "MySQL error 1062")
    assert stack(error) == "StoreUnavailable: MySQL error 1062"
    assert summary(StoreUnavailable("no connection").loggable()) == "no connection"


def test_the_middle_of_a_long_stack_is_left_out() -> None:
    def deeper(depth: int) -> None:
        deeper(depth + 1)

    lines = stack(catch(lambda: deeper(0))).splitlines()

    assert len(lines) == MAX_FRAMES + 2
    assert any("frames" in line for line in lines)


def test_a_long_chain_is_cut() -> None:
    error: BaseException = ValueError(0)
    for number in range(100):
        error.__context__, error = None, _raised_from(error, number)

    assert len(stack(error).splitlines()) < 100


def _raised_from(error: BaseException, number: int) -> BaseException:
    effect = ValueError(number)
    effect.__cause__ = error
    return effect
