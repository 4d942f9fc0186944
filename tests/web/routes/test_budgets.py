"""Budgets over HTTP: 429 before a run is written, and runs that fail or wait later."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from openai import RateLimitError

from tests.web.asking import chunks
from tests.web.serving import Served
from twelvefold.core.ports.budgets import Amount, Budget, BudgetScope, Policy, Reservation
from twelvefold.core.spending import input_bound

CAP = 100
ALL = BudgetScope()
BUY: Any = [{"role": "user", "content": "buy a lamp"}]


@pytest.fixture(autouse=True)
def _noon(api: Served) -> None:
    """No test begins before midnight and ends after it, where a budget of a day is renewed."""
    noon = datetime.now(UTC).replace(hour=12)
    api.web.services.store.use_clock(round(noon.timestamp() * 1e6))  # type: ignore[attr-defined]


async def set_budget(api: Served, tokens: int, policy: Policy = "refuse") -> Budget:
    """Set the budget, and let the process read it now."""
    budget = Budget(ALL, "day", tokens, policy=policy)
    await api.web.services.store.set_budget(budget)
    await api.web.services.budgets.refresh()
    return budget


async def room_of_a_call(api: Served) -> int:
    """Return what the first model call of a turn reserves."""
    await api.ask("buy a lamp", max_output_tokens=CAP)
    return input_bound(api.model.requests[0]) + CAP


@pytest.mark.parametrize("background", [False, True])
async def test_a_request_over_budget_is_a_429_before_its_run_is_written(
    api: Served, background: bool
) -> None:
    await set_budget(api, 100)

    refused = await api.post(
        "/responses", {"model": "shop", "input": "hi", "background": background}
    )

    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (*["insufficient_quota"] * 2, None)
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert (
        "is too small: it has 100 tokens, and a model call of this run may take" in error["message"]
    )
    assert error["message"].endswith("; raise it with `twelvefold budgets set`")
    assert (await api.web.services.store.runs(limit=9), api.model.requests) == ([], [])


async def test_the_429_of_a_budget_that_is_used_up_says_when_it_renews(api: Served) -> None:
    budget = await set_budget(api, await room_of_a_call(api))
    store = api.web.services.store
    run = (await store.runs(limit=1))[0].run
    period = budget.period((await store.budgets())[0])
    call = Reservation(run, 99, "other", budget.id, period.began_us, Amount(budget.tokens or 0))
    await store.reserve(budget, call)
    await store.settle(call, call.amount)

    body = {"model": "shop", "input": "hi", "max_output_tokens": CAP}
    refused = await api.post("/responses", body)

    assert refused.status_code == 429
    assert "is used up; it renews at" in refused.json()["error"]["message"]
    assert 0 < int(refused.headers["retry-after"]) <= 86_400


async def test_the_official_client_gets_the_error_of_a_quota(api: Served) -> None:
    await set_budget(api, 100)

    with pytest.raises(RateLimitError) as caught:
        await api.sdk.chat.completions.create(model="shop", messages=BUY)

    assert caught.value.code == "insufficient_quota"


async def test_a_run_that_is_over_budget_later_fails_with_the_code(api: Served) -> None:
    await set_budget(api, await room_of_a_call(api))

    response = await api.ask("buy a lamp", max_output_tokens=CAP)

    assert response["status"] == "failed"
    assert response["error"]["code"] == response["error"]["type"] == "insufficient_quota"
    assert "the day budget of all" in response["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_that_is_over_budget_later_fails_with_the_code(
    api: Served, stream: bool
) -> None:
    await set_budget(api, await room_of_a_call(api))

    if stream:
        error = (await chunks(api, messages=BUY, max_tokens=CAP))[-1]["error"]
    else:
        body = {"model": "shop", "messages": BUY, "max_tokens": CAP}
        refused = await api.post("/chat/completions", body)
        assert refused.status_code == 429
        error = refused.json()["error"]

    assert (error["code"], error["type"]) == ("insufficient_quota", "insufficient_quota")


async def test_a_run_that_waits_for_a_budget_is_in_progress(api: Served) -> None:
    room, store = await room_of_a_call(api), api.web.services.store
    budget = await set_budget(api, room, "wait")
    run = (await store.runs(limit=1))[0].run
    period = budget.period((await store.budgets())[0])
    call = Reservation(run, 99, "other", budget.id, period.began_us, Amount(room))
    await store.reserve(budget, call)
    await store.settle(call, call.amount)

    answer = {"model": "shop", "input": "hi", "max_output_tokens": CAP, "background": True}
    response = (await api.post("/responses", answer)).json()
    while (await store.runs(limit=1))[0].status != "waiting":
        await asyncio.sleep(0.02)

    assert (await api.get(f"/responses/{response['id']}")).json()["status"] == "in_progress"
    assert "budget of all is used up" in (await store.runs(limit=1))[0].error


async def test_a_budget_in_usd_refuses_a_model_without_a_price(api: Served) -> None:
    await api.web.services.store.set_budget(Budget(ALL, "day", micro_usd=1_000))
    await api.web.services.budgets.refresh()

    refused = await api.post("/responses", {"model": "shop", "input": "hi"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
    assert "set OPENAI_PRICE" in refused.json()["error"]["message"]
