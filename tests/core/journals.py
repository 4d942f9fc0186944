"""Hypothesis strategies for journals: those that the engine may write, and events in any order.

Each is made from a string of bytes, which is cheap to draw and shrinks well.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.builders import (
    added,
    allowed,
    approval_asked,
    asked,
    assistant,
    called,
    denied,
    failed,
    finished,
    function_call,
    outcome_unknown,
    own_tool,
    refused,
    removed,
    replied,
    said,
    settled,
    succeeded,
    thread_of,
)
from twelvefold.core.budget import Limits
from twelvefold.core.decide import (
    AskApproval,
    AskOutcome,
    Await,
    CallModel,
    Finish,
    RunTools,
    Stop,
    decide,
)
from twelvefold.core.events import Event, ReplyEnd, WaitEnded
from twelvefold.core.gates import ValidCall
from twelvefold.core.ports import ReadOnly, Transaction
from twelvefold.core.thread import Call, Thread
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import RejectedCall, Workflow

T = TypeVar("T")
LIMITS = Limits(max_steps=4)


@tool
async def look(db: ReadOnly, code: str) -> str:
    """Look a course up."""
    return code


@tool(effect="pure")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(requires="look", once=True)
async def enrol(tx: Transaction, code: str) -> str:
    """Enrol in a course."""
    return code


@tool(after_refusal="enrol", max_calls=2)
async def advise(db: ReadOnly) -> str:
    """Find another course."""
    return ""


@tool(effect="unsafe")
async def pay(amount: int) -> str:
    """Pay for it."""
    return str(amount)


@tool(approval=lambda arguments: arguments["amount"] > 1)
async def refund(tx: Transaction, amount: int) -> str:
    """Pay it back."""
    return str(amount)


WORKFLOW = Workflow("academy", "Help.", (look, add, enrol, advise, pay, refund))
CALLED = ("look",) * 4 + ("add", "enrol", "enrol", "advise", "pay", "pay", "refund", "nothing")
GOOD = {"look": '{"code":"A"}', "add": '{"a":1,"b":2}', "enrol": '{"code":"A"}', "advise": ""}
AMOUNTS = ('{"amount":1}', '{"amount":2}')
OWN = own_tool("nothing", description="Do nothing.")
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"tools": (OWN,)},
    {"max_tool_calls": 1},
    {"tool_choice": "none"},
)
BAD = ("{", "[]", '{"code":1}')
ENDS: tuple[ReplyEnd, ...] = ("completed",) * 6 + ("max_output_tokens", "content_filter")


class Dice:
    """Choices made by a string of bytes; the first option when it is used up."""

    def __init__(self, rolls: bytes) -> None:
        self._rolls = iter(rolls)

    def one_of(self, options: Sequence[T]) -> T:
        return options[next(self._rolls, 0) % len(options)]


def _journal(rolls: bytes) -> list[Event]:
    dice = Dice(rolls)
    events: list[Event] = []
    length = 1 + dice.one_of(range(14))
    while len(events) < length:
        thread = thread_of(*events, interrupted=dice.one_of((False, False, True)))
        events += _answer_of_person(thread, dice) if thread.waits else _next(thread, dice)
    return events[:length]


def _any_events(rolls: bytes) -> list[Event]:
    dice = Dice(rolls)
    return [dice.one_of(ANYTHING)(dice) for _ in range(dice.one_of(range(10)))]


journals = st.binary(max_size=80).map(_journal)
"""Prefixes of journals that the engine may write."""
scrambled = st.binary(max_size=40).map(_any_events)
"""Events in any order, which no engine writes."""


def _next(thread: Thread, dice: Dice) -> Sequence[Event]:
    match decide(thread, WORKFLOW, LIMITS):
        case CallModel():
            return [_reply(dice)]
        case RunTools(calls=calls, pending=pending):
            return [_result(*one, dice) for one in zip(calls, pending, strict=True)]
        case AskApproval(call=call):
            return [approval_asked(call.id, call.tool)]
        case Await(calls=(call, *_)):
            return [WaitEnded(call.id, "time"), succeeded(call.id, call.tool)]
        case AskOutcome(call=call):
            return [outcome_unknown(call.id, call.tool)]
        case Finish():
            return [finished()]
        case Stop(status=status, reason=reason):
            return [finished(status, reason)]
        case _:
            return [_start(dice)]


def _start(dice: Dice) -> Event:
    return asked("and " + "now " * dice.one_of((1, 9, 90)), **dice.one_of(OPTIONS))


def _reply(dice: Dice) -> Event:
    calls = [_call(dice) for _ in range(dice.one_of((0, 1, 1, 2, 3)))]
    return replied(assistant("well, " * dice.one_of((0, 1, 40))), *calls, ended=dice.one_of(ENDS))


def _call(dice: Dice) -> dict[str, object]:
    name = dice.one_of(CALLED)
    good = (GOOD[name],) if name in GOOD else AMOUNTS
    return function_call(
        name, dice.one_of(("c1", "c2", "c3", "c4", "c5")), dice.one_of((*good * 3, *BAD))
    )


def _result(validated: ValidCall | RejectedCall, call: Call, dice: Dice) -> Event:
    if isinstance(validated, RejectedCall):
        return failed(call.id, call.tool, validated.failure)
    good = succeeded(call.id, call.tool, "so it is. " * dice.one_of((0, 1, 100)))
    bad: tuple[Event, ...] = (refused(call.id, call.tool), failed(call.id, call.tool))
    return dice.one_of((good, good, good, *bad))


def _answer_of_person(thread: Thread, dice: Dice) -> Sequence[Event]:
    call = thread.pending[0]
    answers: Sequence[Sequence[Event]] = (
        [settled(call.id)],
        [settled(call.id, "done"), succeeded(call.id, call.tool)],
        [settled(call.id, "failed"), failed(call.id, call.tool, "settled")],
    )
    if call.state == "asked":
        answers = ([allowed(call.id)], [denied(call.id), failed(call.id, call.tool, "denied")])
    return dice.one_of(answers)


IDS = ("2.0", "2.1", "3.0")
ANYTHING: tuple[Callable[[Dice], Event], ...] = (
    lambda dice: asked(),
    lambda dice: asked(tools=(OWN,)),
    lambda dice: added(assistant("by the way")),
    lambda dice: removed(dice.one_of(("1i0", "2", "2.0", "3_1"))),
    _reply,
    lambda dice: called(dice.one_of(CALLED)),
    lambda dice: said(),
    lambda dice: succeeded(dice.one_of(IDS), dice.one_of(CALLED)),
    lambda dice: failed(dice.one_of(IDS), dice.one_of(CALLED)),
    lambda dice: refused(dice.one_of(IDS), dice.one_of(CALLED)),
    lambda dice: approval_asked(dice.one_of(IDS)),
    lambda dice: allowed(dice.one_of(IDS)),
    lambda dice: denied(dice.one_of(IDS)),
    lambda dice: outcome_unknown(dice.one_of(IDS)),
    lambda dice: settled(dice.one_of(IDS), dice.one_of(("done", "retry", "failed"))),
    lambda dice: finished(),
)
