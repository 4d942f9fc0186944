import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from tests.builders import open_call, thread
from tests.engine.leases import LEASE, lease_of
from tests.engine.stage import ANN, Stage, fault
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    Failure,
    OutcomeUnknown,
    ToolError,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.gates import ValidCall, validate_call
from twelvefold.core.ids import CallId
from twelvefold.core.ports import CallKey, Principal, ReadOnly
from twelvefold.core.thread import Call
from twelvefold.core.workflow import RejectedCall, Tool, Workflow, tool
from twelvefold.engine.held_run import CallOutcome
from twelvefold.engine.perform import run_call, run_group
from twelvefold.engine.perform.call import KEYED_ATTEMPTS
from twelvefold.engine.perform.group import reject_call
from twelvefold.engine.perform.tool_output import UNREADABLE
from twelvefold.engine.services import Services
from twelvefold.errors import CancelAsked, LeaseLost, StoreUnavailable, ToolRefused

TODAY = date(2026, 11, 5)
RUN = LEASE.run


@pytest.fixture
def services(stage: Stage) -> Services:
    return stage.process()


async def told_by(services: Services, one: Tool, **arguments: Any) -> CallOutcome:
    call = ValidCall(open_call(one.name, id="2.0"), one, arguments)
    return await run_call(services, lease_of(services.monotonic), "ann", call)


def returning(result: object) -> Tool:
    @tool(name="give", effect="pure")
    async def give() -> object:
        """Give it."""
        return result

    return give


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
    """Nothing that JSON could say."""


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
    assert await told_by(services, returning(result)) == ToolSucceeded(CallId("2.0"), "give", text)


async def test_a_result_that_is_too_long_is_cut_with_a_note(services: Services) -> None:
    told = await told_by(services, returning("x" * 5_000_000))

    assert isinstance(told, ToolSucceeded)
    assert told.result == "x" * 65_536 + "\n[cut here, after 65536 of 5000000 characters]"


def endless() -> list[Any]:
    around: list[Any] = []
    around.append(around)
    return around


@pytest.mark.parametrize("result", [Odd(), {"a": Odd()}, endless()], ids=["odd", "deep", "endless"])
async def test_a_result_that_has_no_form_is_no_failure_of_the_call(
    services: Services, result: object, caplog: pytest.LogCaptureFixture
) -> None:
    told = await told_by(services, returning(result))

    assert told == ToolSucceeded(CallId("2.0"), "give", UNREADABLE)
    assert [one.message for one in caplog.records] == ["result_unreadable"]


async def test_a_call_that_was_returned_without_await_is_a_fault(services: Services) -> None:
    told = await told_by(services, returning(asyncio.sleep(0)))

    assert isinstance(told, ToolFailed)
    assert told.error is not None
    assert told.error.message == "it returned sleep(…) without `await` in front of it"


async def test_a_refusal_is_for_the_model_to_read(services: Services) -> None:
    told = await told_by(services, raising(ToolRefused("the course is full; call find_more")))

    message = "Error: the course is full; call find_more"
    assert told == ToolFailed(CallId("2.0"), "give", "refused", message)


@pytest.mark.parametrize(
    ("said", "read"), [("\ud83d", "Error: \\ud83d"), ("x" * 70_000, "after 65536 of 70007 char")]
)
async def test_a_refusal_is_kept_readable_too(services: Services, said: str, read: str) -> None:
    told = await told_by(services, raising(ToolRefused(said)))

    assert isinstance(told, ToolFailed)
    assert read in told.message


class Panic(BaseException):
    """As PyO3's PanicException, which is no Exception."""


@pytest.mark.parametrize(
    "error",
    [ValueError("a secret"), SystemExit(2), asyncio.CancelledError(), Panic("in Rust")],
)
async def test_whatever_else_a_tool_raises_is_a_fault(
    services: Services, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    told = await told_by(services, raising(error))

    raised = ToolError(type(error).__name__, str(error))
    assert fault(told) == ("2.0", "give", raised)
    (line,) = caplog.records
    assert (line.message, line.levelname) == ("tool_raised", "ERROR")
    assert "a secret" not in f"{vars(line)}"


@pytest.mark.parametrize("error", [LeaseLost("gone"), CancelAsked("end")])
async def test_the_loss_of_the_run_is_no_answer_of_the_tool(
    services: Services, error: Exception
) -> None:
    @tool
    async def look(db: ReadOnly) -> None:
        """Look."""
        raise error

    with pytest.raises(type(error)):
        await answers(services, Workflow("shop", "Sell.", (look,)), open_call("look"))


async def test_a_tool_without_our_database_answers_for_the_database_that_it_uses(
    services: Services,
) -> None:
    told = await told_by(services, raising(StoreUnavailable("its own database is away")))

    raised = ToolError("StoreUnavailable", "its own database is away")
    assert fault(told) == ("2.0", "give", raised)


def slow(effect: Any, *, stubborn: bool = False) -> Tool:
    @tool(name="wait", effect=effect, timeout_s=0.01)
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            if stubborn:
                raise RuntimeError("not now") from None
            raise

    return wait


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_tool_that_takes_too_long_is_stopped(services: Services, stubborn: bool) -> None:
    told = await told_by(services, slow("pure", stubborn=stubborn))

    raised = "RuntimeError" if stubborn else "TimeoutError"
    message = "it took longer than 0.01 s (timeout_s)"
    assert fault(told) == ("2.0", "wait", ToolError(raised, message))


@pytest.mark.parametrize("stubborn", [False, True])
async def test_nobody_knows_how_far_an_unsafe_tool_came_that_was_stopped(
    services: Services, stubborn: bool
) -> None:
    told = await told_by(services, slow("unsafe", stubborn=stubborn))

    assert told == OutcomeUnknown(CallId("2.0"), "wait")


def notifying(seconds: Sequence[float]) -> tuple[Tool, list[CallKey]]:
    """A tool that takes so long at each try, and the keys that it was called with."""
    keys: list[CallKey] = []

    @tool(name="tell", timeout_s=0.01)
    async def tell(key: CallKey) -> str:
        """Tell."""
        keys.append(key)
        await asyncio.sleep(seconds[len(keys) - 1])
        return "told"

    return tell, keys


async def test_a_call_with_a_key_that_takes_too_long_is_run_again_under_its_key(
    services: Services,
) -> None:
    tell, keys = notifying([20, 0])

    assert await told_by(services, tell) == ToolSucceeded(CallId("2.0"), "tell", "told")
    assert keys == [CallKey(f"{RUN.thread}:2.0")] * 2


async def test_nobody_knows_how_far_a_call_with_a_key_came_that_always_takes_too_long(
    services: Services,
) -> None:
    tell, keys = notifying([20] * KEYED_ATTEMPTS)

    assert await told_by(services, tell) == OutcomeUnknown(CallId("2.0"), "tell")
    assert len(keys) == KEYED_ATTEMPTS


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_tool_cannot_hold_up_the_end_of_its_process(
    services: Services, stubborn: bool
) -> None:
    @tool(name="wait", effect="pure")
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            if stubborn:
                raise RuntimeError("not now") from None
            raise

    task = asyncio.ensure_future(told_by(services, wait))
    await asyncio.sleep(0)
    task.cancel()

    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_tool_is_handed_what_it_asks_for(services: Services) -> None:
    taken: list[object] = []

    @tool
    async def keep(who: Principal, key: CallKey, item: str, count: int = 1) -> None:
        """Keep it."""
        taken.extend([who, key, item, count])

    await told_by(services, keep, item="lamp")

    assert taken == [ANN, CallKey(f"{RUN.thread}:2.0"), "lamp", 1]
    assert type(taken[1]) is CallKey


async def answers(services: Services, workflow: Workflow, *calls: Call) -> list[CallOutcome]:
    told = thread()
    group = [(validate_call(told, workflow, call), call) for call in calls]
    answered = await run_group(services, workflow, lease_of(services.monotonic), "ann", group)
    return [one for one in answered if isinstance(one, ToolSucceeded | ToolFailed)]


async def test_calls_that_leave_no_trace_run_side_by_side(services: Services) -> None:
    both = asyncio.Barrier(2)

    @tool(effect="pure")
    async def meet(name: str) -> str:
        """Wait for the other one."""
        await both.wait()
        return name

    first = open_call("meet", id="2.0", arguments='{"name":"first"}')
    second = open_call("meet", id="2.1", arguments='{"name":"second"}')

    assert await answers(services, Workflow("meeting", "Meet.", (meet,)), first, second) == [
        ToolSucceeded(CallId("2.0"), "meet", "first"),
        ToolSucceeded(CallId("2.1"), "meet", "second"),
    ]


async def test_reading_calls_each_have_a_connection_of_their_own(
    services: Services, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(2)

    @asynccontextmanager
    async def another() -> AsyncIterator[ReadOnly]:
        async with stage.process().store.read() as db:
            yield db

    @tool
    async def meet(db: ReadOnly) -> object:
        """Wait for the other one, with a statement before and behind."""
        await db.fetch_all("select 1")
        await both.wait()
        return await db.fetch_one("select count(*) as rows from bought")

    # The embedded database reads one by one; a server does not.
    monkeypatch.setattr(services.store, "read", another)
    group = [open_call("meet", id=id) for id in ("2.0", "2.1")]

    assert await answers(services, Workflow("meeting", "Meet.", (meet,)), *group) == [
        ToolSucceeded(CallId("2.0"), "meet", '{"rows":0}'),
        ToolSucceeded(CallId("2.1"), "meet", '{"rows":0}'),
    ]


async def test_a_reading_call_is_tried_again_while_the_database_is_away(services: Services) -> None:
    away = iter([StoreUnavailable("away"), StoreUnavailable("away")])

    @tool
    async def look(db: ReadOnly) -> str:
        """Look."""
        for error in away:
            raise error
        return "there"

    (told,) = await answers(services, Workflow("shop", "Sell.", (look,)), open_call("look"))

    assert told == ToolSucceeded(CallId("2.0"), "look", "there")


async def test_bad_calls_are_answered_in_their_place(services: Services) -> None:
    workflow = Workflow("shop", "Sell.", (returning("lamp"),))

    told = await answers(services, workflow, open_call("give"), open_call("fly", id="2.1"))

    assert [type(one) for one in told] == [ToolSucceeded, ToolFailed]


async def test_a_group_ends_with_what_says_that_the_run_cannot_go_on(services: Services) -> None:
    @tool
    async def end(db: ReadOnly) -> None:
        """End."""
        raise CancelAsked("to be cancelled")

    workflow = Workflow("shop", "Sell.", (end, returning("lamp")))

    with pytest.raises(CancelAsked):
        await answers(services, workflow, open_call("give"), open_call("end", id="2.1"))


def explained(
    services: Services, explain: Callable[[RejectedCall], str], tool_name: str = "fly"
) -> ToolFailed:
    workflow = Workflow("shop", "Sell.", (), explain=explain)
    bad = RejectedCall("unknown_tool", tool_name, "{}", ("there is no such tool",))
    return reject_call(services, workflow, bad, open_call(tool_name))


def shout(bad: RejectedCall) -> str:
    return f"NO {bad.tool}!"


def broken(bad: RejectedCall) -> str:
    raise KeyError(bad.tool)


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        (shout, "NO fly!"),
        (broken, "Error: there is no such tool"),
        (lambda bad: "\ud83d", "\\ud83d"),
        (lambda bad: "x" * 100, f"{'x' * 64}\n[cut here, after 64 of 100 characters]"),
    ],
)
def test_a_workflow_words_what_is_wrong_with_a_call(
    stage: Stage, explain: Callable[[RejectedCall], str], message: str
) -> None:
    services = stage.process(limits=Limits(result_chars=64))
    failure: Failure = "unknown_tool"

    assert explained(services, explain) == ToolFailed(CallId("2.0"), "fly", failure, message)
