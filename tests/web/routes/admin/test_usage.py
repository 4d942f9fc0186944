"""`GET /v1/admin/usage`."""

from typing import Any

import pytest

from tests.web.routes.admin.conftest import Site
from tests.web.serving import Json
from twelvefold.admin.usage import last_days
from twelvefold.core import Price
from twelvefold.web.routes.admin import usage as usage_route


def price(model: str) -> Price:
    """Return the price of every model."""
    return Price(1_000_000, 1_000_000, 2_000_000)


async def summed(site: Site, **query: Any) -> list[Json]:
    answer = await site.ops.get("/admin/usage", **query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


async def test_an_operator_sees_the_usage_of_all_principals(site: Site) -> None:
    for tenant in (site.ann, site.ann, site.bob):
        await tenant.ask("hi")
    await site.ops.web.services.store.count_usage(price)
    _, today = last_days(1)

    [of_today] = await summed(site)
    by_principal = await summed(site, by="principal")
    [of_bob] = await summed(site, by="day,workflow", principal="bob", **{"from": today})

    assert of_today == {
        "object": "admin.usage",
        "day": today,
        "workflow": None,
        "principal": None,
        "runs": 3,
        "failed": 0,
        "input_tokens": 60,
        "output_tokens": 15,
        "cached_tokens": 24,
        "cost_usd": 0.00009,
    }
    assert [(one["principal"], one["runs"], one["day"]) for one in by_principal] == [
        ("ann", 2, None),
        ("bob", 1, None),
    ]
    assert (of_bob["day"], of_bob["workflow"], of_bob["runs"]) == (today, "shop", 1)
    assert await summed(site, workflow="unknown") == []
    assert await summed(site, to="2020-02-29") == []


async def test_a_long_list_says_that_there_is_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_route, "MAX_SUMS", 1)
    for tenant in (site.ann, site.bob):
        await tenant.ask("hi")
    await site.ops.web.services.store.count_usage(price)

    page = (await site.ops.get("/admin/usage", by="principal")).json()

    assert (len(page["data"]), page["has_more"]) == (1, True)


async def test_a_period_that_is_too_long_is_named_by_its_days(site: Site) -> None:
    answer = await site.ops.get("/admin/usage", **{"from": "2025-01-01", "to": "2026-01-02"})
    longest = await site.ops.get("/admin/usage", **{"from": "2025-01-01", "to": "2026-01-01"})

    message = "from: must be `to` or one of the 365 days before it, not 2025-01-01"
    assert answer.json()["error"]["message"] == message
    assert longest.status_code == 200


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": ""}, "to"),
        ({"to": "2026-02-30"}, "to"),
        ({"to": "20260228"}, "to"),
        ({"to": "2026-W09-6"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "2024-01-01", "to": "2026-01-01"}, "from"),
        ({"to": "0001-01-01"}, "to"),
        ({"by": "hour"}, "by"),
        ({"by": ""}, "by"),
        ({"by": "workflow,principal"}, "by"),
        ({"limit": "5"}, "limit"),
    ],
)
async def test_an_invalid_parameter_is_named(site: Site, query: dict[str, str], param: str) -> None:
    answer = await site.ops.get("/admin/usage", **query)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
