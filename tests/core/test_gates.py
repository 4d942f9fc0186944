from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from tests.builders import (
    asked,
    called,
    finished,
    open_call,
    outcome_unknown,
    own_tool,
    refused,
    succeeded,
    thread_of,
)
from twelvefold.core.events import Event
from twelvefold.core.gates import ValidCall, needs_approval, open_tools, validate_call, why_closed
from twelvefold.core.ports import ReadOnly, Transaction
from twelvefold.core.thread import Call
from twelvefold.core.tools.tool import Approval, Tool, tool
from twelvefold.core.workflow import RejectedCall, Workflow


@tool
async def look(db: ReadOnly, code: str) -> str:
    """Look."""
    return code


@tool
async def pay(tx: Transaction) -> str:
    """Pay."""
    return ""


@tool(requires=("look", "pay"))
async def enrol(tx: Transaction) -> str:
    """Enrol."""
    return ""


@tool(after_refusal=("enrol", "pay"))
async def advise(db: ReadOnly) -> str:
    """Advise."""
    return ""


@tool(once=True)
async def welcome(tx: Transaction) -> str:
    """Welcome."""
    return ""


@tool(max_calls=2)
async def guess(db: ReadOnly) -> str:
    """Guess."""
    return ""


WORKFLOW = Workflow("academy", "Help.", (look, pay, enrol, advise, welcome, guess))


def offered(*events: Event) -> list[str]:
    return [one.name for one in open_tools(thread_of(asked(), *events), WORKFLOW)]


def validated(call: Call, *events: Event) -> ValidCall | RejectedCall:
    return validate_call(thread_of(asked(), *events), WORKFLOW, call)


def closed(tool: Tool, *events: Event) -> RejectedCall:
    """Return the rejection of a call of a tool that is not offered."""
    thread = thread_of(asked(), *events)
    assert tool not in open_tools(thread, WORKFLOW)
    rejected = validate_call(thread, WORKFLOW, open_call(tool.name))
    assert isinstance(rejected, RejectedCall)
    assert rejected.failure == "not_open"
    assert rejected.problems == (why_closed(thread, tool),)
    return rejected


def test_tools_without_gates_are_offered_at_first() -> None:
    assert offered() == ["look", "pay", "welcome", "guess"]


def test_a_tool_opens_after_all_required_tools_succeeded() -> None:
    looked, paid = succeeded("2.0", "look"), succeeded("2.1", "pay")

    assert closed(enrol).problems == ("enrol can be called only after look succeeded",)
    assert closed(enrol, looked).problems == ("enrol can be called only after pay succeeded",)
    assert "enrol" in offered(looked, paid)
    assert isinstance(validated(open_call("enrol"), looked, paid), ValidCall)


def test_a_success_in_an_earlier_run_opens_a_tool() -> None:
    earlier: list[Event] = [succeeded("2.0", "look"), succeeded("2.1", "pay"), finished()]

    assert "enrol" in offered(*earlier, asked())


def test_a_refusal_does_not_open_a_tool_that_requires_a_success() -> None:
    assert closed(enrol, refused("2.0", "look"), succeeded("2.1", "pay"))


def test_a_tool_opens_after_one_of_the_refusals_it_names() -> None:
    assert closed(advise).problems == ("advise can be called only after enrol or pay refused",)
    assert closed(advise, succeeded("2.0", "pay"))
    assert "advise" in offered(refused("2.0", "pay"))
    assert isinstance(validated(open_call("advise"), refused("2.0", "pay")), ValidCall)


def test_a_tool_with_once_closes_after_it_succeeded() -> None:
    again = closed(welcome, succeeded("2.0", "welcome"), finished(), asked())

    assert again.problems == ("welcome has succeeded and can be called only once",)
    assert "welcome" in offered(refused("2.0", "welcome"))


def test_a_tool_closes_after_its_maximum_of_calls_in_a_run() -> None:
    twice: list[Event] = [succeeded("2.0", "guess"), refused("2.1", "guess")]

    assert "guess" in offered(twice[0])
    assert closed(guess, *twice).problems == (
        "guess has been called 2 times, which is the maximum",
    )
    assert "guess" in offered(*twice, finished(), asked())


def test_an_unknown_outcome_opens_no_gate() -> None:
    story: list[Event] = [called("look", "pay"), outcome_unknown("2.0", "look")]

    assert closed(enrol, *story)


def test_a_valid_call_has_its_parsed_arguments() -> None:
    call = open_call("look", arguments='{"code":"CR-1"}')

    assert validated(call) == ValidCall(call, look, {"code": "CR-1"})


def test_the_error_for_an_unknown_tool_lists_the_offered_tools() -> None:
    assert validated(open_call("lok")) == RejectedCall(
        "unknown_tool",
        "lok",
        "{}",
        ("there is no tool 'lok'; there are look, pay, welcome, guess",),
        ("look", "pay", "welcome", "guess"),
    )


def test_the_error_for_a_call_without_any_tool_says_so() -> None:
    rejected = validate_call(thread_of(asked()), Workflow("bare", "Talk.", ()), open_call("look"))

    assert isinstance(rejected, RejectedCall)
    assert rejected.problems == ("there is no tool 'look'; there are none now",)


def test_a_call_with_a_repeated_id_is_rejected() -> None:
    again = Call(open_call("look").id, "look", '{"code":"A"}', "c1", repeated=True)

    rejected = validated(again)

    assert isinstance(rejected, RejectedCall)
    assert (rejected.failure, rejected.arguments) == ("repeated", '{"code":"A"}')
    assert rejected.problems == (
        "call id 'c1' came twice in one reply; only the first call was run",
    )


def test_all_problems_of_the_arguments_are_reported_at_once() -> None:
    rejected = validated(open_call("look", arguments='{"cod":"CR-1","x":1}'))

    assert isinstance(rejected, RejectedCall)
    assert rejected.failure == "arguments"
    assert rejected.problems == (
        "code: Field required",
        "cod: Extra inputs are not permitted",
        "x: Extra inputs are not permitted",
    )


def big(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["amount"] > 10)


def broken(arguments: Mapping[str, Any]) -> bool:
    raise KeyError("amount")


def forgetful(arguments: Mapping[str, Any]) -> Any:
    """Decide nothing, as a function without its `return`."""


@pytest.mark.parametrize(
    ("approval", "amount", "asks"),
    [
        (False, 99, False),
        (True, 1, True),
        (big, 10, False),
        (big, 11, True),
        (broken, 1, True),
        (forgetful, 1, True),
    ],
)
def test_approval_is_needed_as_declared_and_if_the_function_raises(
    approval: Approval, amount: int, asks: bool
) -> None:
    @tool(approval=approval)
    async def refund(tx: Transaction, amount: int) -> str:
        """Pay it back."""
        return ""

    call = ValidCall(open_call("refund"), refund, {"amount": amount})

    assert needs_approval(call) is asks


@pytest.mark.parametrize("given", [{}, {"cents": 1500}])
def test_the_approval_function_gets_the_defaults(given: Mapping[str, Any]) -> None:
    seen: list[dict[str, Any]] = []

    def keep(arguments: dict[str, Any]) -> bool:
        seen.append(arguments)
        return False

    @tool(approval=keep)
    async def refund(tx: Transaction, number: int, cents: int = 1500) -> str:
        """Pay it back."""
        return ""

    assert not needs_approval(ValidCall(open_call("refund"), refund, {"number": 1, **given}))
    assert seen == [{"number": 1, "cents": 1500}]


def restricted(**options: Any) -> tuple[list[str], ValidCall | RejectedCall]:
    """Return the offered tools of a run with these options, and the validated call of `pay`."""
    thread = thread_of(asked(**options))
    offered = [one.name for one in open_tools(thread, WORKFLOW)]
    return offered, validate_call(thread, WORKFLOW, open_call("pay"))


def test_a_tool_that_tool_choice_excludes_is_neither_offered_nor_run() -> None:
    only_look = {"type": "allowed_tools", "tools": [{"type": "function", "name": "look"}]}

    for choice, names in ((only_look, ["look"]), ("none", [])):
        offered, rejected = restricted(tool_choice=choice)
        assert offered == names
        assert isinstance(rejected, RejectedCall)
        assert (rejected.failure, rejected.problems) == (
            "not_open",
            ("pay cannot be called in this turn; the caller's tool_choice excludes it",),
        )


def test_max_tool_calls_limits_the_calls_of_a_run() -> None:
    thread = thread_of(asked(max_tool_calls=2), succeeded("2.0", "look"), refused("2.1", "pay"))

    rejected = validate_call(thread, WORKFLOW, open_call("pay"))

    assert open_tools(thread, WORKFLOW) == ()
    assert isinstance(rejected, RejectedCall)
    assert rejected.problems == ("2 tools have been called in this turn, which is the maximum",)
    assert restricted(max_tool_calls=0)[0] == []
    assert isinstance(restricted(max_tool_calls=1)[1], ValidCall)


def test_the_error_for_an_unknown_tool_lists_the_callers_tools() -> None:
    rejected = validate_call(
        thread_of(asked(tools=(own_tool("get_time"),))), WORKFLOW, open_call("time")
    )

    assert isinstance(rejected, RejectedCall)
    assert rejected.offered == ("look", "pay", "welcome", "guess", "get_time")


def test_a_tool_that_the_key_does_not_allow_is_neither_offered_nor_run() -> None:
    started = structs.replace(asked(), allowed_tools=("look",))
    thread = thread_of(started)

    rejected = validate_call(thread, WORKFLOW, open_call("pay"))

    assert [one.name for one in open_tools(thread, WORKFLOW)] == ["look"]
    assert rejected == RejectedCall(
        "not_open",
        "pay",
        open_call("pay").arguments,
        ("pay cannot be called in this run; the caller's API key does not allow it",),
    )


def test_an_approved_call_needs_the_permission_of_the_key_too() -> None:
    thread = thread_of(structs.replace(asked(), allowed_tools=()))

    assert why_closed(thread, pay, approved=True) is not None
    assert why_closed(thread_of(asked()), pay, approved=True) is None
