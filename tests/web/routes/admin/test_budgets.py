"""`/v1/admin/budgets`."""

import logging
from typing import Any

import pytest

from tests.web.routes.admin.conftest import Site
from tests.web.serving import Json
from twelvefold.core.ports.budgets import Budget


async def put(site: Site, **body: Any) -> Json:
    answer = await site.ops.http.put("/v1/admin/budgets", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def listed(site: Site) -> list[Json]:
    return list((await site.ops.get("/admin/budgets")).json()["data"])


async def test_a_budget_is_set_replaced_listed_and_removed(site: Site) -> None:
    first = await put(site, principal="ann", tokens=100_000)
    replaced = await put(site, principal="ann", tokens=90_000, over="wait")
    month = await put(site, tokens=10**9, window="month")

    assert first["id"] == replaced["id"]
    assert await listed(site) == [month, replaced]
    renews_at = replaced.pop("renews_at")
    assert renews_at % 86_400 == 0
    assert replaced == {
        "id": first["id"],
        "object": "admin.budget",
        "scope": "principal:ann",
        "principal": "ann",
        "key": None,
        "workflow": None,
        "window": "day",
        "over": "wait",
        "limit": {"tokens": 90_000, "usd": None},
        "spent": {"tokens": 0, "usd": None},
        "reserved": {"tokens": 0, "usd": None},
    }

    path = f"/v1/admin/budgets/{first['id']}"
    removed = await site.ops.http.delete(path)
    again = await site.ops.http.delete(path)

    assert removed.json() == {"id": first["id"], "object": "admin.budget.deleted", "deleted": True}
    assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")
    assert await listed(site) == [month]


async def test_a_budget_that_another_operator_removes_meanwhile_is_not_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = site.ops.web.services.store
    set_one = store.set_budget

    async def set_and_remove(budget: Budget) -> None:
        await set_one(budget)
        monkeypatch.setattr(store, "set_budget", set_one)  # the store's own removal uses it
        await store.remove_budget(budget.id)

    monkeypatch.setattr(store, "set_budget", set_and_remove)
    answer = await site.ops.http.put("/v1/admin/budgets", json={"tokens": 100_000})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_each_change_of_a_budget_is_logged_with_the_operator(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    budget = await put(site, principal="ann", tokens=100_000)
    await site.ops.http.delete(f"/v1/admin/budgets/{budget['id']}")

    logged = [one.__dict__["fields"] for one in caplog.records if one.msg == "operator_action"]

    about = {"operator": "olga", "key": "key-3", "budget": budget["id"]}
    assert logged == [{"action": action, **about} for action in ("set_budget", "remove_budget")]


async def test_what_a_run_spends_is_in_the_list(site: Site) -> None:
    await put(site, principal="ann", key="key-1", workflow="shop", tokens=100_000)
    await site.ann.web.services.budgets.refresh()

    usage = (await site.ann.ask("hi"))["usage"]

    [budget] = await listed(site)
    assert budget["scope"] == "principal:ann key:key-1 workflow:shop"
    assert budget["spent"]["tokens"] == usage["total_tokens"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, None, None),
        ({"tokens": -1}, "tokens", "integer_below_min_value"),
        ({"tokens": 5, "window": "year"}, "window", "invalid_value"),
        ({"tokens": 5, "principle": "ann"}, "principle", "unknown_parameter"),
        ({"tokens": 5, "workflow": "shpo"}, None, None),
        ({"usd": 5}, None, "price_unknown"),
    ],
)
async def test_an_invalid_budget_is_refused(
    site: Site, body: Json, param: str | None, code: str | None
) -> None:
    answer = await site.ops.http.put("/v1/admin/budgets", json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert await listed(site) == []


async def test_budgets_are_listed_in_pages(site: Site) -> None:
    for name in ("cleo", "ann", "bob"):
        await put(site, principal=name, tokens=5)

    first = (await site.ops.get("/admin/budgets", limit=2)).json()
    rest = (await site.ops.get("/admin/budgets", limit=2, after=first["last_id"])).json()

    names = [one["principal"] for page in (first, rest) for one in page["data"]]
    assert names == ["ann", "bob", "cleo"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    answer = await site.ops.get("/admin/budgets", after="bud_9")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")
