"""A run that another one has started, as an operator acts on it."""

from typing import Any

import pytest

from tests.engine.family.stories import last_user_text
from tests.engine.stage import refund
from tests.web.routes.admin.conftest import Site, open_site
from tests.web.serving import Json, Serve
from twelvefold import Workflow
from twelvefold.core.ports import ModelRequest
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says

CLERK = Workflow("clerk", "clerk", (refund,))
SHOP = Workflow[Any]("shop", "boss", (CLERK.as_tool("Refunds."),), children=(CLERK,))


def script(request: ModelRequest) -> Scripted:
    results = [item for item in request.items if item.get("type") == "function_call_output"]
    if results:
        return says(f"{request.instructions}: {results[-1]['output']}")
    if request.instructions == "clerk":
        return calls(("refund", {"item": last_user_text(request)}))
    return calls(("clerk", {"input": "a lamp"}))


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await open_site(serve, worker=True, model=ScriptedModel(script), workflow=SHOP)


async def child_of(site: Site) -> tuple[Json, Json]:
    """Return a run of Ann and the run below it, which waits for an approval."""
    response = await site.ann.ask("please")
    root = (await site.ops.get(f"/admin/runs/{response['id']}")).json()
    [child] = root["children"]
    return root, (await site.ops.get(f"/admin/runs/{child['id']}")).json()


@pytest.mark.parametrize("through", ["child", "root"])
async def test_a_call_of_a_run_below_is_approved(site: Site, through: str) -> None:
    root, child = await child_of(site)
    id = {"child": child, "root": root}[through]["id"]

    answer = await site.ops.post(f"/admin/runs/{id}/resume", {"approve": True})

    assert answer.status_code == 200, answer.text
    ended = await site.ann.settled(root["id"])
    assert ended["status"] == "completed"


async def test_a_run_below_is_cancelled_and_its_parent_goes_on(site: Site) -> None:
    root, child = await child_of(site)

    answer = await site.ops.post(f"/admin/runs/{child['id']}/cancel")

    assert answer.json()["status"] == "cancelled"
    ended = await site.ann.settled(root["id"])
    assert ended["status"] == "completed"


async def test_a_run_below_is_neither_forked_nor_retried(site: Site) -> None:
    root, child = await child_of(site)
    await site.ops.post(f"/admin/runs/{child['id']}/cancel")

    for action in ("fork", "retry"):
        answer = await site.ops.post(f"/admin/runs/{child['id']}/{action}")

        assert answer.status_code == 400, answer.text
        message = answer.json()["error"]["message"]
        assert f"run {child['id']} was started by run {root['id']}" in message
