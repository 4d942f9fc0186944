"""`/v1/admin/budgets`: what runs may spend, and what they have spent."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core.ports.budgets import Amount, Budget, BudgetScope
from twelvefold.engine.commands.budgets import (
    BudgetState,
    budget_state,
    list_budgets,
    set_budget,
)
from twelvefold.errors import NotFound
from twelvefold.web.http import (
    abbreviate,
    check_list_parameters,
    json_response,
    list_object,
    parse_page,
    raise_invalid,
    require_admin,
)
from twelvefold.web.runs.operator import log_action
from twelvefold.web.schemas import Json, read_body
from twelvefold.web.schemas.admin.budgets import SetBudget
from twelvefold.web.state import web_of

MICRO = 1_000_000


async def list_all(request: Request) -> Response:
    """`GET /v1/admin/budgets`: budgets, by scope, with what was spent."""
    require_admin(request)
    check_list_parameters(request.query_params, "limit", "after")
    page, services = parse_page(request.query_params), web_of(request).services
    try:
        states, has_more = await list_budgets(services, limit=page.limit, after=page.after)
    except NotFound:
        raise_invalid(f"there is no budget {abbreviate(page.after)}", "after")
    return json_response(list_object([_budget(one) for one in states], has_more))


async def put(request: Request) -> Response:
    """`PUT /v1/admin/budgets`: add a budget, or replace that of the same scope and window.

    404 if another operator has just removed it.
    """
    caller = require_admin(request)
    services, body = web_of(request).services, await read_body(request, SetBudget)
    scope = BudgetScope(body.principal or "", body.key or "", body.workflow or "")
    micro_usd = None if body.usd is None else round(body.usd * MICRO)
    budget = Budget(scope, body.window, body.tokens, micro_usd, body.over)
    await set_budget(services, budget)
    log_action(caller, "set_budget", budget=budget.id)
    return json_response(_budget(await budget_state(services, budget.id)))


async def remove(request: Request) -> Response:
    """`DELETE /v1/admin/budgets/{budget_id}`."""
    caller, id = require_admin(request), request.path_params["budget_id"]
    await web_of(request).services.store.remove_budget(id)
    log_action(caller, "remove_budget", budget=id)
    return json_response({"id": id, "object": "admin.budget.deleted", "deleted": True})


def _budget(state: BudgetState) -> Json:
    budget, scope = state.budget, state.budget.scope
    return {
        "id": budget.id,
        "object": "admin.budget",
        "scope": str(scope),
        "principal": scope.principal or None,
        "key": scope.key or None,
        "workflow": scope.workflow or None,
        "window": budget.window,
        "over": budget.policy,
        "limit": _amount(budget, Amount(budget.tokens or 0, budget.micro_usd or 0)),
        "spent": _amount(budget, state.used.spent),
        "reserved": _amount(budget, state.used.reserved),
        "renews_at": state.period.renews_us / MICRO,
    }


def _amount(budget: Budget, amount: Amount) -> Json:
    return {
        "tokens": None if budget.tokens is None else amount.tokens,
        "usd": None if budget.micro_usd is None else amount.micro_usd / MICRO,
    }


ROUTES: list[BaseRoute] = [
    Route("/v1/admin/budgets", list_all, methods=["GET"]),
    Route("/v1/admin/budgets", put, methods=["PUT"]),
    Route("/v1/admin/budgets/{budget_id}", remove, methods=["DELETE"]),
]
