from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Annotated, Any, Protocol, runtime_checkable

import pytest
from pydantic import Field

from twelvefold.core.ports import (
    CallKey,
    Principal,
    ReadOnly,
    SyncReadOnly,
    SyncTransaction,
    ToolSpec,
    Transaction,
)
from twelvefold.core.tools.signature import Effect, Resource
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import RejectedCall, Workflow, explain
from twelvefold.errors import WorkflowError


async def transactional(tx: Transaction) -> None: ...
async def readonly(db: ReadOnly) -> None: ...
async def idempotent(key: CallKey) -> None: ...
async def neither(text: str) -> None: ...
def sync_transactional(tx: SyncTransaction) -> None: ...
def sync_readonly(db: SyncReadOnly) -> None: ...


@pytest.mark.parametrize(
    ("function", "effect"),
    [
        *[(transactional, "transactional"), (readonly, "readonly"), (idempotent, "idempotent")],
        *[(sync_transactional, "transactional"), (sync_readonly, "readonly")],
    ],
)
def test_the_signature_declares_the_effect(function: Callable[..., Any], effect: Effect) -> None:
    assert tool(function).effect == effect


def test_a_tool_without_special_parameters_declares_its_effect() -> None:
    assert tool(effect="pure")(neither).effect == "pure"
    assert tool(effect="unsafe")(neither).effect == "unsafe"


def test_the_strongest_parameter_decides_the_effect() -> None:
    async def both(tx: Transaction, db: ReadOnly) -> None: ...
    async def keyed(tx: Transaction, key: CallKey) -> None: ...

    assert tool(both).effect == tool(keyed).effect == "transactional"


def test_parameters_that_the_engine_fills_are_hidden_from_the_model() -> None:
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


def test_a_gate_takes_one_name_or_several() -> None:
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
def both_in_a_thread(db: SyncReadOnly, key: CallKey) -> None: ...
async def sync_reader(db: SyncReadOnly) -> None: ...
async def sync_writer(tx: SyncTransaction) -> None: ...


class Client: ...


class Closes(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class Sends(Protocol):
    def send(self) -> None: ...


async def of_text(client: Resource["str | None"]) -> None: ...
async def of_anything(client: Resource[object]) -> None: ...
async def of_protocol(client: Resource[Closes]) -> None: ...
async def of_transaction(client: Resource[Transaction]) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (
            plain_reader,
            "tool plain_reader: takes ReadOnly, so it must be an async function; "
            r"a plain one takes SyncReadOnly \(.*test_workflow\.py, line \d+\)$",
        ),
        (
            plain_writer,
            "tool plain_writer: takes Transaction, so it must be an async function; "
            r"a plain one takes SyncTransaction \(.*test_workflow\.py, line \d+\)$",
        ),
        (sync_reader, "tool sync_reader: an async function takes ReadOnly, not SyncReadOnly"),
        (sync_writer, "tool sync_writer: an async function takes Transaction, not SyncTransaction"),
        (of_text, r"tool of_text: parameter 'client' is a Resource of str \| None; it must be one"),
        (of_anything, "parameter 'client' is a Resource of <class 'object'>; it must be"),
        (of_protocol, r"a Resource of <class '.*Closes'>; .* or of a protocol with @runtime_check"),
        (of_transaction, "parameter 'client' is a Resource of <class '.*Transaction'>; it must be"),
        (both_in_a_thread, "tool both_in_a_thread: takes SyncReadOnly and CallKey; no connection"),
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
def test_a_wrong_declaration_is_an_error_on_import(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(WorkflowError, match=problem):
        tool(function)


def test_a_plain_function_is_a_tool_and_can_be_called() -> None:
    one = tool(effect="pure")(plain)

    assert not one.is_async
    assert one.effect == "pure"
    assert result_of(one("lamp")) == "a lamp"


def test_a_plain_function_may_take_a_key_and_the_principal() -> None:
    @tool
    def charge(key: CallKey, who: Principal, cents: int) -> None:
        """Charge it."""

    assert (charge.effect, charge.is_async) == ("idempotent", False)
    assert charge.handed_in == {"key": CallKey, "who": Principal}


def test_a_resource_is_no_parameter_of_the_model_and_no_effect() -> None:
    @tool(effect="pure")
    async def fetch(
        client: Resource[Client],
        sender: "Resource[Sends]",
        mapping: Resource[dict[str, int]],
        url: str,
    ) -> None:
        """Fetch it."""

    assert (fetch.effect, fetch.handed_in) == ("pure", {})
    assert fetch.resources == {"client": Client, "sender": Sends, "mapping": dict}
    assert list(fetch.model_parameters) == ["url"]


@asynccontextmanager
async def opened() -> AsyncIterator[Client]:
    yield Client()


async def undecorated() -> AsyncIterator[Client]:
    yield Client()


async def coroutine() -> Client:
    return Client()


def test_the_resources_of_a_workflow_are_a_function() -> None:
    assert Workflow("shop", "Sell.", (), resources=opened).resources is opened
    assert Workflow("shop", "Sell.", ()).resources is None


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        (Client(), "resources is a function that returns an async context manager, not a Client"),
        (
            opened(),
            "resources is a function that returns an async context manager, "
            "not a _AsyncGeneratorContextManager",
        ),
        (undecorated, "resources=undecorated must return an async context manager; write @async"),
        (coroutine, "resources=coroutine must return an async context manager"),
    ],
)
def test_resources_that_cannot_be_opened_are_an_error_on_import(
    resources: Any, problem: str
) -> None:
    with pytest.raises(WorkflowError, match=f"workflow shop: {problem}"):
        Workflow("shop", "Sell.", (), resources=resources)


@pytest.mark.parametrize("name", ["größe", "find courses", "x" * 65, "a.b"])
def test_a_name_that_the_api_would_refuse_is_an_error(name: str) -> None:
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
def test_an_effect_that_contradicts_the_signature_is_an_error(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(WorkflowError, match=problem):
        tool(effect="pure")(function)


def test_an_unknown_effect_and_a_limit_of_0_are_errors() -> None:
    async def look() -> None: ...

    with pytest.raises(WorkflowError, match="effect is pure or unsafe, not 'foo'"):
        tool(effect="foo")(look)  # type: ignore[call-overload]  # as a user without types might
    with pytest.raises(WorkflowError, match="max_calls is at least 1, not 0"):
        tool(effect="pure", max_calls=0)(look)


def test_a_type_without_a_schema_is_an_error_when_the_schema_is_read() -> None:
    class Socket:
        """A type without a JSON form."""

    async def send(db: ReadOnly, socket: Socket) -> None: ...
    async def call(db: ReadOnly, back: Callable[[], int]) -> None: ...

    send.__annotations__["socket"] = Socket
    for function in (send, call):
        declared = tool(function)
        with pytest.raises(WorkflowError, match=f"tool {function.__name__}: "):
            _ = declared.spec
        with pytest.raises(WorkflowError, match=f"tool {function.__name__}: "):
            declared.parameters.parse("{}")


def test_an_async_tool_can_be_called() -> None:
    @tool(effect="pure")
    async def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    assert result_of(add(1, b=2)) == 3


def result_of(called: Coroutine[Any, Any, object]) -> object:
    """Return what a coroutine that awaits nothing returns, without an event loop."""
    with pytest.raises(StopIteration) as returned:
        called.send(None)
    return returned.value.value


def test_a_workflow_has_its_tools_by_name() -> None:
    look = tool(name="look")(readonly)
    workflow = Workflow("academy", "Help.", [look])  # type: ignore[arg-type]  # a list will do

    assert workflow.tools == (look,)
    assert workflow.by_name == {"look": look}


@pytest.mark.parametrize("gate", ["requires", "after_refusal"])
def test_a_gate_that_names_an_unknown_tool_is_an_error(gate: str) -> None:
    gates: dict[str, Any] = {gate: "paid"}

    with pytest.raises(WorkflowError, match=f"readonly has {gate}='paid', which is no tool"):
        Workflow("academy", "Help.", (tool(**gates)(readonly),))


def test_two_tools_with_one_name_are_an_error() -> None:
    with pytest.raises(WorkflowError, match="workflow academy: two tools have the same name"):
        Workflow("academy", "Help.", (tool(readonly), tool(name="readonly")(idempotent)))


def test_a_function_that_is_no_tool_is_an_error() -> None:
    tools: tuple[Any, ...] = (tool(readonly), idempotent)

    with pytest.raises(WorkflowError, match="workflow academy: idempotent is no tool; put @tool"):
        Workflow("academy", "Help.", tools)


def test_the_explanation_of_a_rejected_call_has_all_problems() -> None:
    rejected = RejectedCall(
        "arguments", "enrol", "{}", ("code: Field required", "seats: not a number")
    )

    assert explain(rejected) == "Error: code: Field required; seats: not a number"


def test_tools_are_values() -> None:
    arguments: Mapping[str, Any] = {"requires": "a"}

    assert tool(**arguments)(readonly) == tool(**arguments)(readonly)
    assert isinstance(tool(readonly), Tool)


class Order:
    """A type without a schema."""


@tool(effect="pure")
async def price(order: Order) -> str:
    """The price of an order."""
    return "3"


def test_the_error_for_a_parameter_without_a_schema_names_file_and_line() -> None:
    with pytest.raises(WorkflowError) as raised:
        Workflow("shop", "Sell.", (price,))

    message = str(raised.value)
    assert message.startswith(
        "tool price: parameter 'order' has the type Order, which has no JSON Sch"
    )
    assert f"({__file__}, line {price.function.__code__.co_firstlineno})" in message


@pytest.mark.parametrize("name", ["", " ", "shop ", "a/b", "a\nb", "\ud800", "x" * 256, None, 5])
def test_a_workflow_has_a_printable_name_without_a_slash(name: Any) -> None:
    with pytest.raises(WorkflowError, match=r"^workflow .*: its name must have 1 to 255 printable"):
        Workflow(name, "You answer questions.")


@pytest.mark.parametrize("option", ["seed", "explain"])
def test_the_functions_of_a_workflow_can_be_called(option: str) -> None:
    given: dict[str, Any] = {option: "x"}

    with pytest.raises(WorkflowError, match=f"workflow desk: {option} is a function, not a str"):
        Workflow("desk", "You answer questions.", **given)


@pytest.mark.parametrize(
    ("examples", "problem"),
    [
        ("Where is it?", r"examples is a tuple of texts, not 'Where is it\?'"),
        (("Where is it?", " "), "an example is a text, not ' '"),
        ((1,), "an example is a text, not 1"),
    ],
)
def test_examples_are_texts(examples: Any, problem: str) -> None:
    with pytest.raises(WorkflowError, match=f"workflow desk: {problem}"):
        Workflow("desk", "You answer questions.", examples=examples)
