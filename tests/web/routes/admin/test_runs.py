"""`GET /v1/admin/runs`."""

from typing import Any

import pytest

from tests.web.routes.admin.conftest import Site
from tests.web.serving import Json, Served
from twelvefold.core import Price


async def listed(api: Served, **query: Any) -> Json:
    answer = await api.get("/admin/runs", **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_an_operator_sees_the_runs_of_all_principals(site: Site) -> None:
    first, second = await site.ann.ask("hi"), await site.bob.ask("hi")

    page = await listed(site.ops)

    assert [(one["id"], one["principal"]) for one in page["data"]] == [
        (second["id"], "bob"),
        (first["id"], "ann"),
    ]
    assert (page["first_id"], page["last_id"]) == (second["id"], first["id"])
    assert (page["has_more"], page["next"]) == (False, None)


async def test_a_run_has_its_facts(site: Site) -> None:
    made = await site.ann.ask("hi")

    [run] = (await listed(site.ops))["data"]

    times = [run.pop(name) for name in ("created_at", "updated_at", "finished_at")]
    assert times == sorted(times)
    assert int(times[0]) == made["created_at"]
    assert run == {
        "id": made["id"],
        "object": "admin.run",
        "thread": f"conv_{made['id'][5:49]}",
        "run": 1,
        "workflow": "shop",
        "principal": "ann",
        "status": "completed",
        "error": "",
        "attempts": 0,
        "usage": {"input_tokens": 20, "output_tokens": 5, "cost_usd": None},
        "parent": None,
        "release": "1.0",
        "background": False,
        "leased": False,
        "cancel_requested": False,
    }


async def test_a_run_has_its_cost_if_the_price_is_known(site: Site) -> None:
    await site.ann.ask("hi")
    web = site.ops.web
    object.__setattr__(
        web.services, "find_price", lambda model: Price(1_000_000, 1_000_000, 2_000_000)
    )

    [run] = (await listed(site.ops))["data"]

    assert run["usage"]["cost_usd"] == 0.00003


async def test_pages_continue_after_an_id(site: Site) -> None:
    ids = [(await site.ann.ask("hi"))["id"] for _ in range(3)]

    first = await listed(site.ops, limit=2)
    second = await listed(site.ops, limit=2, after=first["next"])

    assert [one["id"] for one in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_runs_are_filtered_and_searched(site: Site) -> None:
    ann, bob = (await site.ann.ask("hi"))["id"], (await site.bob.ask("hi"))["id"]
    at = (await listed(site.ops, principal="bob"))["data"][0]["created_at"]
    expected: dict[str, list[Json]] = {
        ann: [{"principal": "ann"}, {"search": ann}, {"search": ann[5:49]}],
        bob: [{"principal": "bob", "status": "completed", "workflow": "shop"}, {"since": at}],
    }
    for id, queries in expected.items():
        for query in queries:
            assert [one["id"] for one in (await listed(site.ops, **query))["data"]] == [id], query
    for query in ({"status": "failed"}, {"workflow": "x"}, {"search": "printer"}, {"until": 1}):
        assert (await listed(site.ops, **query))["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "broken"}, "status"),
        ({"since": "yesterday"}, "since"),
        ({"until": "-1"}, "until"),
        ({"limit": "0"}, "limit"),
        ({"order": "asc"}, "order"),
        ({"after": "resp_1"}, "after"),
        ({"after": f"resp_{'0' * 44}1"}, "after"),
        ({"principal": "x" * 256}, "principal"),
    ],
)
async def test_an_invalid_parameter_is_rejected(site: Site, query: Json, param: str) -> None:
    answer = await site.ops.get("/admin/runs", **query)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
