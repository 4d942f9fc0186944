"""Budgets as operators see and set them."""

from typing import Annotated, Literal

from msgspec import Meta

from twelvefold.core.ports.budgets import Policy, Window
from twelvefold.web.schemas.objects import Answer
from twelvefold.web.schemas.types import RequestObject

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Tokens = Annotated[int, Meta(ge=0, le=10**15, description="Maximum tokens, input and output.")]
USD = Annotated[
    float,
    Meta(ge=0, le=10**9, description="Maximum cost. Every model that is covered needs a price."),
]


class SetBudget(RequestObject):
    """A budget of the runs with all of the given values; without one, of all runs."""

    principal: Annotated[Name | None, Meta(description="Only runs of this principal.")] = None
    key: Annotated[Name | None, Meta(description="Only runs that this API key started.")] = None
    workflow: Annotated[Name | None, Meta(description="Only runs of this workflow.")] = None
    window: Annotated[Window, Meta(description="When the budget renews, in UTC.")] = "day"
    tokens: Tokens | None = None
    usd: USD | None = None
    over: Annotated[
        Policy, Meta(description="A run that finds the budget used up fails, or waits.")
    ] = "refuse"


class BudgetAmount(Answer):
    """Tokens and USD; null where the budget has no limit of the kind."""

    tokens: int | None
    usd: float | None


class AdminBudget(Answer):
    """A budget, and what was spent and is reserved in the current day or month."""

    id: str
    object: Literal["admin.budget"]
    scope: str
    principal: str | None
    key: str | None
    workflow: str | None
    window: Window
    over: Policy
    limit: BudgetAmount
    spent: BudgetAmount
    reserved: BudgetAmount
    renews_at: float


class AdminBudgetList(Answer):
    """A page of budgets, by scope."""

    object: Literal["list"]
    data: list[AdminBudget]
    first_id: str | None
    last_id: str | None
    has_more: bool
