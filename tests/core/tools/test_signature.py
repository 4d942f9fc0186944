"""Parameters that the engine fills are never arguments of the model."""

from dataclasses import dataclass
from typing import Annotated, Any, NewType, Protocol, TypeVar

import pytest
from pydantic import BaseModel
from typing_extensions import TypeAliasType, TypedDict

from twelvefold.core.fan_out import FanOut
from twelvefold.core.ports import CallKey, Principal, ReadOnly, SyncReadOnly, Transaction
from twelvefold.core.tools.signature import Resource
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import Workflow
from twelvefold.errors import WorkflowError


class Client:
    """A resource."""


class Admin(Principal):
    """A principal of the author's."""


class Database(ReadOnly, Protocol):
    """A protocol of the author's."""


class Order(BaseModel):
    owner: Principal


@dataclass
class Line:
    owner: Principal


class Note(TypedDict):
    owner: Principal


Owner = NewType("Owner", Principal)
Caller = TypeAliasType("Caller", Principal)
Somebody = TypeAliasType("Somebody", Principal | None)
AnyOwner = TypeVar("AnyOwner", bound=Principal)
OneOwner = TypeVar("OneOwner", Principal, str)
Shared = TypeAliasType("Shared", Resource[Client])
Started = TypeAliasType("Started", FanOut | None)
Pair = TypeAliasType("Pair", tuple[str, Principal])


def declare(annotation: Any) -> Tool:
    """Declare a tool whose parameter has this type, beside one of the model."""

    async def find(given: Any, text: str) -> str:
        return text

    find.__annotations__["given"] = annotation
    try:
        return tool(find)
    except WorkflowError as error:
        if "takes none of Transaction" not in str(error):
            raise
    return tool(effect="pure")(find)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (Principal, Principal),
        (Principal | None, Principal),
        (Annotated[Principal, "the owner"], Principal),
        (Annotated[Principal | None, "the owner"], Principal),
        (Annotated[Principal, "the owner"] | None, Principal),
        (Owner, Principal),
        (Caller, Principal),
        (Somebody, Principal),
        (Transaction | None, Transaction),
        (ReadOnly | None, ReadOnly),
        (CallKey | None, CallKey),
        (TypeAliasType("Key", CallKey), CallKey),
    ],
)
def test_the_engine_fills_its_types_below_aliases_and_none(annotation: Any, kind: type) -> None:
    one = declare(annotation)

    assert one.handed_in == {"given": kind}
    assert [*one.model_parameters] == ["text"]


@pytest.mark.parametrize("annotation", [Resource[Client] | None, Shared, Shared | None])
def test_the_engine_fills_resources_below_aliases_and_none(annotation: Any) -> None:
    one = declare(annotation)

    assert one.resources == {"given": Client}
    assert [*one.model_parameters] == ["text"]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (Principal | str, "Principal"),
        (list[Principal], "Principal"),
        (dict[str, Principal] | None, "Principal"),
        (type[Principal], "Principal"),
        (tuple[str, Annotated[Owner, "the owner"]], "Principal"),
        (Admin, "Admin"),
        (AnyOwner, "Principal"),
        (OneOwner, "Principal"),
        (Pair, "Principal"),
        (Transaction | ReadOnly, "Transaction"),
        (Database | None, "Database"),
        (list[SyncReadOnly], "SyncReadOnly"),
        (CallKey | str, "CallKey"),
        (list[Resource[Client]], "Resource"),
        (Resource[Client] | str, "Resource"),
    ],
)
def test_a_type_of_the_engine_within_another_is_refused_with_its_place(
    annotation: Any, kind: str
) -> None:
    with pytest.raises(
        WorkflowError,
        match=rf"^tool find: parameter 'given' is .*{kind}.*test_signature\.py, line \d+\)$",
    ):
        declare(annotation)


@pytest.mark.parametrize("annotation", [Order, Line, list[Order], Note | None])
def test_the_model_does_not_write_a_principal_within_an_object(annotation: Any) -> None:
    one = declare(annotation)

    with pytest.raises(
        WorkflowError,
        match=r"'given' has the type .* engine fills a Principal, .*test_signature\.py, line \d+\)",
    ):
        Workflow("shop", "Sell.", (one,))


@pytest.mark.parametrize("declared", [Order, Line])
def test_a_principal_is_no_output_and_no_input_of_a_sub_workflow(declared: Any) -> None:
    with pytest.raises(WorkflowError, match="the engine fills a Principal"):
        Workflow("shop", "Sell.", output=declared)
    with pytest.raises(WorkflowError, match="the engine fills a Principal"):
        Workflow("desk", "Help.", (Workflow("shop", "Sell.").as_tool("Sells.", input=declared),))


def test_a_fan_out_is_found_below_an_alias() -> None:
    async def compare() -> Started:
        """Compare them."""

    assert tool(effect="pure")(compare).fans_out


def test_a_type_that_is_there_twice_is_read_once() -> None:
    assert [*declare(tuple[str, str]).model_parameters] == ["given", "text"]
