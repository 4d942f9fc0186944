"""The outcome of one call: what the model reads, and what counts as a fault."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.leases import LEASE
from tests.engine.perform.calls import outcome_of, returning
from tests.engine.stage import ANN, fault
from twelvefold.core.events import (
    OutcomeUnknown,
    ToolError,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import CallKey, Principal
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.engine.perform.call import KEYED_ATTEMPTS, UNREADABLE
from twelvefold.engine.services import Services
from twelvefold.errors import StoreUnavailable, ToolRefused

TODAY = date(2026, 11, 5)


RUN = LEASE.run


def raising(error: BaseException, **declared: Any) -> Tool:
    @tool(name="give", effect="unsafe", **declared)
    async def give() -> None:
        """Give up."""
        raise error

    return give


@dataclass
class Seat:
    row: int


class Ticket(BaseModel):
    day: date
    seats: list[str]


class Odd:
    """A value that JSON cannot represent."""


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "(no result)"),
        ("", ""),
        ("as it is", "as it is"),
        (7, "7"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (Seat(3), '{"row":3}'),
        (Ticket(day=TODAY, seats=["A1"]), '{"day":"2026-11-05","seats":["A1"]}'),
        ([Ticket(day=TODAY, seats=[])], '[{"day":"2026-11-05","seats":[]}]'),
        (TODAY, '"2026-11-05"'),
        (CallKey("k"), "k"),
        ("a\x00b", "a\x00b"),
        ("\U0001f600", "\U0001f600"),
        ("\ud83d!", "\\ud83d!"),
        ({"a": "\ud83d!"}, '{"a": "\\ud83d!"}'),
        (
            Ticket(day=TODAY, seats=["\ud83d"]),
            '{"day": "2026-11-05", "seats": ["\\ud83d"]}',
        ),
    ],
)
async def test_the_model_reads_a_result_as_text(
    services: Services, result: object, text: str
) -> None:
    assert await outcome_of(services, returning(result)) == ToolSucceeded(
        CallId("2.0"), "give", text
    )


async def test_a_result_that_is_too_long_is_shortened_with_a_note(services: Services) -> None:
    outcome = await outcome_of(services, returning("x" * 5_000_000))

    assert isinstance(outcome, ToolSucceeded)
    assert outcome.result == "x" * 65_536 + "\n[cut here, after 65536 of 5000000 characters]"


def endless() -> list[Any]:
    around: list[Any] = []
    around.append(around)
    return around


@pytest.mark.parametrize("result", [Odd(), {"a": Odd()}, endless()], ids=["odd", "deep", "endless"])
async def test_a_result_without_a_text_is_no_failure_of_the_call(
    services: Services, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = await outcome_of(services, returning(result))

    assert outcome == ToolSucceeded(CallId("2.0"), "give", UNREADABLE)
    assert [one.message for one in caplog.records] == ["result_unreadable"]


async def test_a_call_that_was_returned_without_await_is_a_fault(services: Services) -> None:
    outcome = await outcome_of(services, returning(asyncio.sleep(0)))

    assert isinstance(outcome, ToolFailed)
    assert outcome.error is not None
    assert outcome.error.message == "it returned sleep(…) without `await` in front of it"


async def test_the_model_reads_a_refusal(services: Services) -> None:
    outcome = await outcome_of(services, raising(ToolRefused("the course is full; call find_more")))

    message = "Error: the course is full; call find_more"
    assert outcome == ToolFailed(CallId("2.0"), "give", "refused", message)


@pytest.mark.parametrize(
    ("message", "text"), [("\ud83d", "Error: \\ud83d"), ("x" * 70_000, "after 65536 of 70007 char")]
)
async def test_a_refusal_is_shortened_and_made_valid_too(
    services: Services, message: str, text: str
) -> None:
    outcome = await outcome_of(services, raising(ToolRefused(message)))

    assert isinstance(outcome, ToolFailed)
    assert text in outcome.message


class Panic(BaseException):
    """Like PyO3's PanicException, which is no Exception."""


@pytest.mark.parametrize(
    "error",
    [ValueError("a secret"), SystemExit(2), asyncio.CancelledError(), Panic("in Rust")],
)
async def test_every_other_exception_of_a_tool_is_a_fault(
    services: Services, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = await outcome_of(services, raising(error))

    raised = ToolError(type(error).__name__, str(error))
    assert fault(outcome) == ("2.0", "give", raised)
    (line,) = caplog.records
    assert (line.message, line.levelname) == ("tool_raised", "ERROR")
    assert "a secret" not in f"{vars(line)}"


async def test_an_error_of_another_database_is_the_fault_of_its_tool(
    services: Services,
) -> None:
    outcome = await outcome_of(services, raising(StoreUnavailable("its own database is away")))

    raised = ToolError("StoreUnavailable", "its own database is away")
    assert fault(outcome) == ("2.0", "give", raised)


def slow(effect: Any, *, stubborn: bool = False) -> Tool:
    @tool(name="wait", effect=effect, timeout_s=0.01)
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if stubborn:
                raise RuntimeError("not now") from None
            raise

    return wait


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_tool_that_takes_too_long_is_stopped(services: Services, stubborn: bool) -> None:
    outcome = await outcome_of(services, slow("pure", stubborn=stubborn))

    raised = "RuntimeError" if stubborn else "TimeoutError"
    message = "it took longer than 0.01 s (timeout_s)"
    assert fault(outcome) == ("2.0", "wait", ToolError(raised, message))


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_unsafe_tool_that_was_stopped_has_an_unknown_outcome(
    services: Services, stubborn: bool
) -> None:
    outcome = await outcome_of(services, slow("unsafe", stubborn=stubborn))

    assert outcome == OutcomeUnknown(CallId("2.0"), "wait")


def notifying(seconds: Sequence[float]) -> tuple[Tool, list[CallKey]]:
    """Return a tool that takes so long at each attempt, and the keys of its calls."""
    keys: list[CallKey] = []

    @tool(name="tell", timeout_s=0.01)
    async def tell(key: CallKey) -> str:
        """Tell."""
        keys.append(key)
        await asyncio.sleep(seconds[len(keys) - 1])
        return "told"

    return tell, keys


async def test_a_call_with_a_key_that_takes_too_long_is_run_again_with_the_same_key(
    services: Services,
) -> None:
    tell, keys = notifying([20, 0])

    assert await outcome_of(services, tell) == ToolSucceeded(CallId("2.0"), "tell", "told")
    assert keys == [CallKey(f"{RUN.thread}:2.0")] * 2


async def test_a_call_with_a_key_that_always_takes_too_long_has_an_unknown_outcome(
    services: Services,
) -> None:
    tell, keys = notifying([20] * KEYED_ATTEMPTS)

    assert await outcome_of(services, tell) == OutcomeUnknown(CallId("2.0"), "tell")
    assert len(keys) == KEYED_ATTEMPTS


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_tool_cannot_delay_the_end_of_its_process(
    services: Services, stubborn: bool
) -> None:
    @tool(name="wait", effect="pure")
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if stubborn:
                raise RuntimeError("not now") from None
            raise

    task = asyncio.ensure_future(outcome_of(services, wait))
    await asyncio.sleep(0)
    task.cancel()

    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_tool_gets_the_principal_and_the_key(services: Services) -> None:
    taken: list[object] = []

    @tool
    async def keep(who: Principal, key: CallKey, item: str, count: int = 1) -> None:
        """Keep it."""
        taken.extend([who, key, item, count])

    await outcome_of(services, keep, item="lamp")

    assert taken == [ANN, CallKey(f"{RUN.thread}:2.0"), "lamp", 1]
    assert type(taken[1]) is CallKey
