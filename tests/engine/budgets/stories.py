"""Runs under budgets, and what was spent of them."""

from dataclasses import replace

from tests.builders import HASH, SPENT, assistant, user
from tests.engine.stage import Stage
from twelvefold.core.events import RequestOptions
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import ModelReply, NullListener, Principal, Store
from twelvefold.core.ports.budgets import Amount, Budget, BudgetScope, Policy, Reservation, Used
from twelvefold.core.spending import input_bound
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.services.model.scripted import calls

ANN = BudgetScope(principal="ann")
SPENT_TOKENS = SPENT.total_tokens
CAP = 200
CAPPED = RequestOptions(max_output_tokens=CAP)


def of_ann(tokens: int | None = 50_000, *, policy: Policy = "refuse") -> Budget:
    return Budget(ANN, "day", tokens, policy=policy)


def capped(text: str = "a lamp, please", *, key_id: str = "", workflow: str = "shop") -> RunRequest:
    """Return a request with an output cap, so that its model calls reserve little."""
    return RunRequest(workflow, Principal("ann", key_id), [user(text)], options=CAPPED)


def answers(text: str = "Here it is.") -> ModelReply:
    return ModelReply((assistant(text),), SPENT, "m-1", HASH)


def buys(item: str) -> ModelReply:
    return ModelReply(tuple(calls(("buy", {"item": item}))), SPENT, "m-1", HASH)


async def first_call(stage: Stage) -> int:
    """Return what the first model call of a run with this input reserves."""
    services = stage.process(answers())
    await drive(services, await start_run(services, capped()), NullListener())
    return input_bound(stage.requests.pop()) + CAP


async def reserve_for_another(stage: Stage, budget: Budget, tokens: int) -> Reservation:
    """Reserve tokens for the model call of another run; return the reservation."""
    store = stage.process().store
    now_us, _ = await store.budgets()
    other, began_us = RunId(ThreadId("9" * 44), 1), budget.period(now_us).began_us
    call = Reservation(other, 1, "other", budget.id, began_us, Amount(tokens))
    assert await store.reserve(budget, call) is None
    return call


async def spend_for_another(stage: Stage, budget: Budget, tokens: int) -> None:
    """Charge the budget for the model call of another run."""
    call = await reserve_for_another(stage, budget, tokens)
    assert await stage.process().store.settle(call, call.amount)


async def set_budget(stage: Stage, budget: Budget) -> Budget:
    """Set a budget as an administrator does, in a process of its own."""
    await stage.process().store.set_budget(budget)
    return budget


async def used_of(store: Store, budget: Budget) -> Used:
    """Return what was used of a budget today."""
    now_us, _ = await store.budgets()
    key = (budget.id, budget.period(now_us).began_us)
    return (await store.used([key])).get(key, Used())


def with_price(services: Services, **prices: object) -> Services:
    """Return services that know the prices of these models."""
    return replace(services, find_price=prices.get)  # type: ignore[arg-type]
