"""What operators see of a conversation that its owner has deleted: no text of it."""

from typing import Any

import pytest

from tests.web.asking import approval
from tests.web.routes.admin.conftest import Site
from tests.web.routes.admin.test_run import failed
from tests.web.serving import Json

ACTIONS = [
    *(("retry", None), ("cancel", None), ("fork", None)),
    *(("resume", {"approve": True}), ("settle", {"settled": "done"})),
]


@pytest.fixture
async def deleted(site: Site) -> Json:
    """A failed run of Ann, in a conversation that she has deleted."""
    response = await failed(site)
    await delete(site, response["id"])
    return response


async def delete(site: Site, id: str) -> None:
    run = (await site.ops.get(f"/admin/runs/{id}")).json()
    answer = await site.ann.http.delete(f"/v1/conversations/{run['thread']}")
    assert answer.status_code == 200, answer.text


async def test_a_list_has_the_facts_of_the_run_and_not_its_error(site: Site, deleted: Json) -> None:
    [run] = (await site.ops.get("/admin/runs")).json()["data"]

    facts = (run["id"], run["status"], run["principal"], run["error"])
    assert facts == (deleted["id"], "failed", "ann", "")


async def test_the_run_is_not_found_by_its_error(site: Site, deleted: Json) -> None:
    page = (await site.ops.get("/admin/runs", search="the model is gone")).json()

    assert (page["data"], page["has_more"]) == ([], False)


@pytest.mark.parametrize("path", ["", "/journal", "/export"])
async def test_the_run_itself_is_not_found(site: Site, deleted: Json, path: str) -> None:
    answer = await site.ops.get(f"/admin/runs/{deleted['id']}{path}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "gone" not in answer.text


@pytest.mark.parametrize(("action", "body"), ACTIONS)
async def test_an_operator_does_nothing_with_the_run(
    site: Site, deleted: Json, action: str, body: Any
) -> None:
    answer = await site.ops.post(f"/admin/runs/{deleted['id']}/{action}", body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_its_call_waits_for_nobody(site: Site) -> None:
    response, request = await approval(site.ann)
    await delete(site, response["id"])
    async with site.ann.web.services.store.write() as tx:  # as a step that was under way
        await tx.execute("update runs set status = 'waiting'")

    assert (await site.ops.get("/admin/inbox")).json()["data"] == []
    body = {"call_id": request["id"], "output": {"approve": True}}
    answer = await site.ops.post("/admin/inbox/answers", body)
    assert answer.json()["error"]["code"] == "approval_not_pending"


async def test_its_mail_is_listed_without_address_and_subject(site: Site, deleted: Json) -> None:
    store = site.ann.web.services.store
    async with store.write() as tx:
        await tx.send_mail("ann@example.org", "Your lamp", "the text")
        await tx.execute("update outbox set thread_id = :id", id=deleted["id"][5:49])
    [message] = await store.due_messages(1)
    await store.claim_message(message, 60)
    await store.message_failed(message, "550 no user ann@example.org", 60.0)

    [listed] = (await site.ops.get("/admin/outbox", state="failed")).json()["data"]

    shown = (listed["id"], listed["state"], listed["to"], listed["subject"], listed["error"])
    assert shown == (message.id, "failed", "", "", "not shown: the conversation was deleted")
    retried = await site.ops.post(f"/admin/outbox/{message.id}/retry")
    assert (retried.status_code, retried.json()["to"]) == (200, "")
    [due] = await store.due_messages(1)
    assert due.body["to"] == "ann@example.org"
