"""Errors in declarations of tools and workflows."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError


def named(name: str, **options: Any) -> Tool:
    @tool(name=name, effect="pure", **options)
    async def one() -> None:
        """Do it."""

    return one


BOOK, PAY = named("book"), named("pay")


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        (BOOK, r"tools is the tool book, not a tuple; write tools=\(book,\)"),
        (None, "tools is None, not a tuple of tools"),
        (("book",), "'book' is no tool; put @tool above it"),
        ((BOOK, PAY, BOOK), "two tools have the same name: book$"),
    ],
)
def test_tools_of_a_workflow_must_be_a_tuple_of_distinct_tools(tools: Any, message: str) -> None:
    with pytest.raises(WorkflowError, match=f"workflow shop: {message}"):
        Workflow("shop", "Sell.", tools)


@pytest.mark.parametrize("option", ["requires", "after_refusal"])
@pytest.mark.parametrize("given", [7, None, ("book", 7), {"book"}])
def test_a_gate_rejects_anything_but_names(option: str, given: object) -> None:
    with pytest.raises(WorkflowError, match=f'tool pay: {option}=.* write {option}="name"'):
        named("pay", **{option: given})


def test_the_error_for_a_gate_with_a_tool_names_the_tool() -> None:
    wrong: Any = BOOK

    with pytest.raises(WorkflowError, match=r'takes a tool.s name, not the tool; write .*="book"$'):
        named("pay", requires=wrong)


@pytest.mark.parametrize("given", ["5", None, 0, -1.0, float("nan"), True])
def test_a_timeout_must_be_a_positive_number(given: Any) -> None:
    with pytest.raises(WorkflowError, match="tool pay: timeout_s is seconds, more than 0, not "):
        named("pay", timeout_s=given)


@pytest.mark.parametrize("given", ["3", 0, 1.5, True])
def test_max_calls_must_be_a_positive_integer(given: Any) -> None:
    with pytest.raises(WorkflowError, match="tool pay: max_calls is at least 1, not "):
        named("pay", max_calls=given)


@pytest.mark.parametrize(
    ("part", "given", "kind"),
    [("schema", ["create …"], "list"), ("schema", b"create", "bytes")],
)
def test_the_schema_must_be_a_string(part: str, given: Any, kind: str) -> None:
    parts: dict[str, Any] = {"name": "shop", "instructions": "Sell.", "tools": (BOOK,), part: given}

    with pytest.raises(WorkflowError, match=f"{part} is a string, not a {kind}$"):
        Workflow(**parts)


@pytest.mark.parametrize("given", ["book", ("book",), ["book"]])
def test_a_gate_may_be_a_string_a_tuple_or_a_list(given: Any) -> None:
    assert named("pay", requires=given).requires == ("book",)


@pytest.mark.parametrize(
    ("needed", "hint"), [("bok", "did you mean 'book'"), ("x", "the tools are book, pay")]
)
def test_the_error_for_a_gate_with_an_unknown_tool_suggests_one(needed: str, hint: str) -> None:
    with pytest.raises(WorkflowError, match=f"pay has requires='{needed}', .*; {hint}"):
        Workflow("shop", "Sell.", (BOOK, named("pay", requires=needed)))


@pytest.mark.parametrize(
    ("gates", "circle"),
    [
        ({"a": "a"}, "a requires a"),
        ({"a": "b", "b": "a"}, "a requires b requires a"),
        ({"a": "b", "b": "c", "c": "b"}, "b requires c requires b"),
    ],
)
def test_gates_that_can_never_open_are_an_error(gates: Mapping[str, str], circle: str) -> None:
    tools = tuple(named(name, requires=needed) for name, needed in gates.items())

    with pytest.raises(WorkflowError, match=f"{circle}: none of them can ever be called"):
        Workflow("shop", "Sell.", tools)


def test_a_gate_may_name_a_tool_of_the_workflow() -> None:
    workflow = Workflow("shop", "Sell.", (BOOK, named("pay", requires="book")))

    assert workflow.by_name["pay"].requires == ("book",)


async def later(arguments: Mapping[str, Any]) -> bool:
    return True


def of_two(usd: float, reason: str) -> bool:
    return usd > 50


def of_mapping(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["usd"] > 50)


def of_objects(arguments: dict[str, object]) -> bool:
    return arguments["usd"] == 50


@pytest.mark.parametrize(
    ("approval", "message"),
    [
        ("large", "approval is a bool or a function, not 'large'"),
        (later, "approval=later must not be async"),
        (of_two, "approval=of_two must take one argument"),
        (lambda: True, "must take one argument"),
    ],
)
def test_an_approval_must_be_a_bool_or_a_function_of_the_arguments(
    approval: Any, message: str
) -> None:
    with pytest.raises(WorkflowError, match=f"tool refund: .*{message}"):
        named("refund", approval=approval)


@pytest.mark.parametrize("approval", [of_mapping, of_objects, dict, lambda arguments: True])
def test_an_approval_may_be_any_function_of_the_arguments(
    approval: Callable[[dict[str, Any]], bool],
) -> None:
    assert named("refund", approval=approval).approval is approval
