"""`/v1/admin/inbox`: what waits for a person, of all principals."""

from typing import Any, Literal

import pytest

from tests.engine.stage import SHOP as PLAIN
from tests.web.asking import approval, error, said
from tests.web.routes.admin.conftest import Site, open_site
from tests.web.serving import Json, Serve, Served
from twelvefold import Ask, Wait, Workflow, tool


@tool(effect="pure")
async def ask_colour(city: str) -> Ask:
    """Ask carol for a colour."""
    return Ask(f"Which colour in {city}?", schema=Literal["red", "blue"], person="carol")


@tool(effect="pure")
async def await_payment(city: str) -> Wait:
    """Wait for a payment."""
    return Wait(event=f"paid {city}")


SHOP = Workflow[Any]("shop", "Sell.", (*PLAIN.tools, ask_colour, await_payment))


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await open_site(serve, workflow=SHOP)


async def inbox(api: Served, **query: object) -> Json:
    answer = await api.get("/admin/inbox", **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def answer(api: Served, id: str, output: object) -> Any:
    return await api.post("/admin/inbox/answers", {"call_id": id, "output": output})


async def test_the_inbox_has_the_approvals_and_questions_of_all_principals(site: Site) -> None:
    _, request = await approval(site.ann)
    asked = await site.bob.ask("call ask_colour")
    await site.bob.post(
        "/responses", {"model": "shop", "input": "call await_payment", "background": True}
    )
    await site.ann.ask("hi")

    page = await inbox(site.ops)

    question, refund = page["data"]
    assert (refund["id"], refund["kind"], refund["principal"]) == (request["id"], "approval", "ann")
    assert (question["kind"], question["principal"], question["person"]) == (
        "question",
        "bob",
        "carol",
    )
    assert (question["question"], question["run"]) == ("Which colour in Rome?", asked["id"])
    assert question["schema"] == {"type": "string", "enum": ["red", "blue"]}
    assert (page["has_more"], page["next"]) == (False, None)
    assert (await inbox(site.ops, principal="bob"))["data"] == [question]


async def test_the_inbox_is_read_in_pages(site: Site) -> None:
    requests = [(await approval(site.ann))[1]["id"] for _ in range(3)]

    first = await inbox(site.ops, limit=2)
    second = await inbox(site.ops, limit=2, after=first["next"])

    assert [one["id"] for one in first["data"] + second["data"]] == requests[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_an_operator_answers_for_anyone(site: Site) -> None:
    response, request = await approval(site.ann)
    asked = await site.bob.ask("call ask_colour")
    id = asked["output"][-1]["call_id"]

    denied = await answer(site.ops, request["id"], {"approve": False, "reason": "too late"})
    unfit = await answer(site.ops, id, "green")
    told = await answer(site.ops, id, "red")

    assert denied.json() == {"object": "answer", "call_id": request["id"]}
    assert "not allowed by olga: too late" in said(await site.ann.settled(f"{response['id']}c1"))
    assert error(unfit) == (400, "invalid_answer", "output")
    assert told.status_code == 200
    assert said(await site.bob.settled(f"{asked['id']}c1")) == 'The tool says: "red"'
    assert (await inbox(site.ops))["data"] == []
    again = await answer(site.ops, request["id"], {"approve": True})
    assert error(again) == (400, "approval_not_pending", "call_id")


async def test_an_invalid_request_is_rejected(site: Site) -> None:
    _, request = await approval(site.ann)

    assert error(await answer(site.ops, "nothing", "x"))[1] == "approval_not_pending"
    assert error(await answer(site.ops, request["id"], "yes"))[0] == 400
    assert error(await answer(site.ops, request["id"], {"reason": "x"}))[0] == 400
    assert error(await site.ops.get("/admin/inbox", after="resp_1"))[2] == "after"
