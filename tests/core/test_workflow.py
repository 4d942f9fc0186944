from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial, wraps
from typing import Annotated, Any

import pytest
from pydantic import Field

from twelvefold.core.ports import CallKey, Principal, ReadOnly, ToolSpec, Transaction
from twelvefold.core.tools.signature import Effect
from twelvefold.core.workflow import RejectedCall, Tool, Workflow, explain, tool
from twelvefold.errors import WorkflowError


async def transactional(tx: Transaction) -> None: ...
async def readonly(db: ReadOnly) -> None: ...
async def idempotent(key: CallKey) -> None: ...
async def neither(text: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "effect"),
    [(transactional, "transactional"), (readonly, "readonly"), (idempotent, "idempotent")],
)
def test_the_signature_declares_the_effect(function: Callable[..., Any], effect: Effect) -> None:
    assert tool(function).effect == effect


def test_a_tool_that_takes_nothing_says_its_effect() -> None:
    assert tool(effect="pure")(neither).effect == "pure"
    assert tool(effect="unsafe")(neither).effect == "unsafe"


def test_the_most_that_is_taken_is_the_effect() -> None:
    async def both(tx: Transaction, db: ReadOnly) -> None: ...
    async def keyed(tx: Transaction, key: CallKey) -> None: ...

    assert tool(both).effect == tool(keyed).effect == "transactional"


def test_what_is_handed_in_is_hidden_from_the_model() -> None:
    @tool
    async def enrol(
        tx: Annotated[Transaction, "the step's"], who: Principal, code: str, seats: int = 1
    ) -> str:
        """Enrol the caller.

        Once is enough.
        """
        return code

    assert enrol.handed_in == {"tx": Transaction, "who": Principal}
    assert list(enrol.model_parameters) == ["code", "seats"]
    assert enrol.spec == ToolSpec(
        "enrol",
        "Enrol the caller.\n\nOnce is enough.",
        {
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "seats": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "required": ["code", "seats"],
            "additionalProperties": False,
        },
        strict=True,
    )


def test_a_tool_without_a_docstring_has_no_description() -> None:
    assert tool(readonly).spec.description == ""


def test_a_tool_may_have_another_name_than_its_function() -> None:
    assert tool(name="find-2")(readonly).name == "find-2"


def test_gates_are_named_one_by_one_or_together() -> None:
    one = tool(requires="a", after_refusal="b", once=True, max_calls=3, timeout_s=1.5)(readonly)
    more = tool(requires=("a", "b"), after_refusal=("c", "d"))(readonly)

    assert (one.requires, one.after_refusal, one.once, one.max_calls) == (("a",), ("b",), True, 3)
    assert (more.requires, more.after_refusal) == (("a", "b"), ("c", "d"))
    assert (one.timeout_s, more.timeout_s) == (1.5, 60.0)


def plain_reader(db: ReadOnly) -> None: ...
def plain_writer(tx: Transaction) -> None: ...
def plain(item: str) -> str:
    return f"a {item}"


def several(item: str) -> Iterator[str]:
    yield item


async def several_async(item: str) -> AsyncIterator[str]:
    yield item


@wraps(neither)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return neither(*args, **kwargs)


class Plain: ...


async def untyped(db: ReadOnly, code) -> None: ...  # type: ignore[no-untyped-def]  # the mistake
async def any_number(db: ReadOnly, *codes: str) -> None: ...
async def any_name(db: ReadOnly, **codes: str) -> None: ...
async def nameless(code: str, /, db: ReadOnly) -> None: ...
async def unknown(db: ReadOnly, code: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the mistake
async def fielded(db: ReadOnly, code: str = Field(description="…")) -> None: ...
async def both(db: ReadOnly, key: CallKey) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (plain_reader, "tool plain_reader: takes ReadOnly, so it must be an async function"),
        (plain_writer, "tool plain_writer: takes Transaction, so it must be an async function"),
        (plain, "tool plain: takes none of Transaction, ReadOnly, CallKey; declare effect="),
        (wrapped, "tool neither: a decorator has made a plain function of an async one"),
        (several, "tool several: must return its result, not yield it"),
        (several_async, "tool several_async: must return its result, not yield it"),
        (Plain, "tool Plain: must be a function"),
        (untyped, "tool untyped: parameter 'code' needs a type"),
        (any_number, r"tool any_number: \*codes: str has no name that the model could use"),
        (any_name, r"tool any_name: \*\*codes: str has no name that the model could use"),
        (nameless, "tool nameless: code: str has no name that the model could use"),
        (unknown, "tool unknown: its types cannot be read: name 'Nowhere' is not defined"),
        (fielded, "tool fielded: parameter 'code' has a Field as its default; write Annotated"),
        (both, "tool both: takes ReadOnly and CallKey; no connection is held while"),
        (neither, "tool neither: takes none of Transaction, ReadOnly, CallKey; declare effect="),
        (lambda: None, "tool '<lambda>': a name has 1 to 64 letters, digits, _ or -"),
        (partial(readonly), "tool '': a name has 1 to 64 letters, digits, _ or -"),
    ],
)
def test_a_tool_that_is_declared_wrongly_says_so_on_import(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(WorkflowError, match=problem):
        tool(function)


async def test_a_plain_function_is_a_tool_and_is_called_as_it_is() -> None:
    one = tool(effect="pure")(plain)

    assert not one.is_async
    assert one.effect == "pure"
    assert await one("lamp") == "a lamp"


def test_a_plain_function_may_take_a_key_and_the_principal() -> None:
    @tool
    def charge(key: CallKey, who: Principal, cents: int) -> None:
        """Charge it."""

    assert (charge.effect, charge.is_async) == ("idempotent", False)
    assert charge.handed_in == {"key": CallKey, "who": Principal}


@pytest.mark.parametrize("name", ["größe", "find courses", "x" * 65, "a.b"])
def test_a_name_that_the_api_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(WorkflowError, match="1 to 64 letters, digits, _ or -; give it by name="):
        tool(name=name)(readonly)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (transactional, "takes Transaction, so its effect is transactional, not pure"),
        (readonly, "takes ReadOnly, so its effect is readonly, not pure"),
        (idempotent, "takes CallKey, so its effect is idempotent, not pure"),
    ],
)
def test_an_effect_that_contradicts_the_signature_is_refused(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(WorkflowError, match=problem):
        tool(effect="pure")(function)


def test_a_gate_or_an_effect_that_means_nothing_is_refused() -> None:
    async def look() -> None: ...

    with pytest.raises(WorkflowError, match="effect is pure or unsafe, not 'foo'"):
        tool(effect="foo")(look)  # type: ignore[call-overload]  # as a user without types might
    with pytest.raises(WorkflowError, match="max_calls is at least 1, not 0"):
        tool(effect="pure", max_calls=0)(look)


def test_a_type_that_has_no_schema_is_refused_when_the_tool_is_described() -> None:
    class Socket:
        """Nothing that JSON could say."""

    async def send(db: ReadOnly, socket: Socket) -> None: ...
    async def call(db: ReadOnly, back: Callable[[], int]) -> None: ...

    send.__annotations__["socket"] = Socket
    for function in (send, call):
        declared = tool(function)
        with pytest.raises(WorkflowError, match=f"tool {function.__name__}: "):
            _ = declared.spec
        with pytest.raises(WorkflowError, match=f"tool {function.__name__}: "):
            declared.parameters.parse("{}")


def test_a_tool_can_be_called_as_the_function_that_it_is() -> None:
    @tool(effect="pure")
    async def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    called = add(1, b=2)

    with pytest.raises(StopIteration) as returned:
        called.send(None)
    assert returned.value.value == 3


def test_a_workflow_knows_its_tools_by_name() -> None:
    look = tool(name="look")(readonly)
    workflow = Workflow("academy", "Help.", [look])  # type: ignore[arg-type]  # a list will do

    assert workflow.tools == (look,)
    assert workflow.by_name == {"look": look}


@pytest.mark.parametrize("gate", ["requires", "after_refusal"])
def test_a_gate_that_waits_for_a_tool_that_is_not_there_is_refused(gate: str) -> None:
    gates: dict[str, Any] = {gate: "paid"}

    with pytest.raises(WorkflowError, match=f"readonly has {gate}='paid', which is no tool"):
        Workflow("academy", "Help.", (tool(**gates)(readonly),))


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(WorkflowError, match="workflow academy: two tools have the same name"):
        Workflow("academy", "Help.", (tool(readonly), tool(name="readonly")(idempotent)))


def test_a_function_that_was_not_made_a_tool_is_refused() -> None:
    tools: tuple[Any, ...] = (tool(readonly), idempotent)

    with pytest.raises(WorkflowError, match="workflow academy: idempotent is no tool; put @tool"):
        Workflow("academy", "Help.", tools)


def test_a_call_that_never_reached_its_tool_is_explained_with_all_that_is_wrong() -> None:
    bad = RejectedCall("arguments", "enrol", "{}", ("code: Field required", "seats: not a number"))

    assert explain(bad) == "Error: code: Field required; seats: not a number"


def test_tools_are_values() -> None:
    arguments: Mapping[str, Any] = {"requires": "a"}

    assert tool(**arguments)(readonly) == tool(**arguments)(readonly)
    assert isinstance(tool(readonly), Tool)


class Order:
    """No type that has a schema."""


@tool(effect="pure")
async def price(order: Order) -> str:
    """The price of an order."""
    return "3"


def test_a_parameter_without_a_schema_is_an_error_at_import_with_its_place() -> None:
    with pytest.raises(WorkflowError) as refused:
        Workflow("shop", "Sell.", (price,))

    said = str(refused.value)
    assert said.startswith(
        "tool price: parameter 'order' has the type Order, which has no JSON Sch"
    )
    assert f"({__file__}, line {price.function.__code__.co_firstlineno})" in said
