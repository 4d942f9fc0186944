"""Instructions that are a function of the caller."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.builders import asked, thread_of
from twelvefold.core.budget import Limits
from twelvefold.core.instructions import InstructionsFunction, parse_instructions
from twelvefold.core.ports import Principal, ReadOnly, Transaction
from twelvefold.core.request import build_request
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError


def plain(who: Principal) -> str:
    return f"Help {who.id}."


async def waits(who: Principal) -> str:
    return f"Help {who.id}."


async def reads(who: Principal, db: ReadOnly) -> str:
    return f"Help {who.id}."


async def untyped(who, db):  # type: ignore[no-untyped-def]  # types are optional
    return "Help."


@pytest.mark.parametrize(
    ("function", "takes_database", "is_async"),
    [(plain, False, False), (waits, False, True), (reads, True, True), (untyped, True, True)],
)
def test_the_signature_says_what_a_function_takes(
    function: Callable[..., Any], takes_database: bool, is_async: bool
) -> None:
    workflow = Workflow[Any]("academy", function)

    assert workflow.instructions is function
    assert workflow.instructions_function == InstructionsFunction(
        function, takes_database, is_async
    )


def test_a_text_is_no_function() -> None:
    assert Workflow("academy", "Help.").instructions_function is None


def reads_plainly(who: Principal, db: ReadOnly) -> str: ...  # type: ignore[empty-body]
async def writes(who: Principal, db: Transaction) -> str: ...  # type: ignore[empty-body]
async def reversed_(db: ReadOnly, who: Principal) -> str: ...  # type: ignore[empty-body]
async def nothing() -> str: ...  # type: ignore[empty-body]
async def three(who: Principal, db: ReadOnly, more: str) -> str: ...  # type: ignore[empty-body]
async def named(*, who: Principal) -> str: ...  # type: ignore[empty-body]
async def unknown(who: "Nowhere") -> str: ...  # type: ignore[name-defined, empty-body]  # noqa: F821 - the mistake


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "instructions is a string or a function, not a NoneType"),
        (partial(plain), "instructions is a string or a function, not a partial"),
        (reads_plainly, "instructions=reads_plainly: takes ReadOnly, so it must be async"),
        (writes, "instructions=writes: 'db' must be a ReadOnly; it must take the caller"),
        (reversed_, "instructions=reversed_: 'db' must be a Principal; it must take the caller"),
        (nothing, "instructions=nothing must take the caller"),
        (three, "instructions=three must take the caller"),
        (named, "instructions=named must take the caller"),
        (unknown, "instructions=unknown: its types cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_wrong_declaration_is_an_error_on_import(given: object, problem: str) -> None:
    with pytest.raises(WorkflowError, match=f"^workflow academy: {problem}"):
        parse_instructions("academy", given)


def test_a_request_has_the_text_that_the_function_has_returned() -> None:
    workflow = Workflow[Any]("academy", plain)

    request = build_request(
        thread_of(asked(instructions="Be brief.")), workflow, Limits(), "Help ann."
    ).request

    assert request.instructions == "Help ann.\n\nBe brief."
