"""`/v1/admin/runs/{run_id}`: a run of another principal, and what an operator does with it."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from tests.builders import asked, called, outcome_unknown
from tests.services.store.builders import new_run
from tests.web.asking import NOWHERE, answer_to, approval, error, said
from tests.web.routes.admin.conftest import Site
from tests.web.serving import Json, Served
from twelvefold.core.events import ApprovalAnswered, OutcomeSettled, RunStarted
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Append
from twelvefold.errors import ModelRejected


async def shown(api: Served, id: str) -> Json:
    answer = await api.get(f"/admin/runs/{id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def act(api: Served, id: str, action: str, body: Json | None = None) -> Json:
    answer = await api.post(f"/admin/runs/{id}/{action}", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def failed(site: Site) -> Json:
    """A run of Ann that her model has refused."""
    model: Any = site.ann.model
    model.fault = ModelRejected("the model is gone")
    try:
        response = await site.ann.ask("hi")
    finally:
        model.fault = None
    assert response["status"] == "failed"
    return response


async def unsettled(api: Served) -> RunId:
    """A run of Ann whose call may have happened."""
    store = api.web.services.store
    new = replace(new_run(), workflow="shop")
    _, lease = await store.start(new, structs.replace(asked(), workflow="shop"), 60)
    assert lease is not None
    async with store.append(Append(lease, 1, 2, "waiting")) as tx:
        await tx.record([called("ship", item="lamp"), outcome_unknown(tool="ship")])
    return new.run


# --- reading ----------------------------------------------------------------------------------


async def test_a_run_has_its_timeline(site: Site) -> None:
    made = await site.ann.ask("buy a lamp")

    run = await shown(site.ops, made["id"])

    assert (run["id"], run["principal"], run["status"]) == (made["id"], "ann", "completed")
    spans = [(one["kind"], one["name"], one["status"], one["call_id"]) for one in run["timeline"]]
    assert [one for one in spans if one[0] != "queue"] == [
        ("model", "rules", "completed", None),
        ("tool", "buy", "completed", "2.0"),
        ("model", "rules", "completed", None),
    ]
    assert run["timeline"][0]["input_tokens"] == 20
    assert (run["timeline_is_cut"], run["children"], run["waiting"]) == (False, [], [])
    assert (run["failure"], run["actions"]) == (None, ["fork"])


async def test_a_run_is_found_by_the_id_of_each_of_its_responses(site: Site) -> None:
    began, request = await approval(site.ann)
    ended = await site.ann.ask(answer_to(request, True))

    assert ended["id"].endswith("c1")
    assert (await shown(site.ops, ended["id"]))["id"] == began["id"]


async def test_a_failed_run_says_why(site: Site) -> None:
    made = await failed(site)

    run = await shown(site.ops, made["id"])

    assert run["failure"]["error"] == run["error"]
    assert "the model is gone" in run["error"]
    assert (run["failure"]["reason"], run["failure"]["tool_errors"]) == ("rejected", [])
    assert run["actions"] == ["retry", "fork"]


async def test_a_waiting_run_shows_the_call_with_its_arguments(site: Site) -> None:
    response, request = await approval(site.ann)

    run = await shown(site.ops, response["id"])

    [waiting] = run["waiting"]
    assert waiting.pop("asked_at") >= run["created_at"]
    assert waiting == {
        "id": request["id"],
        "kind": "approval",
        "run": response["id"],
        "thread": run["thread"],
        "workflow": "shop",
        "principal": "ann",
        "person": "ann",
        "call_id": "2.0",
        "tool": "refund",
        "arguments": request["arguments"],
        "question": None,
        "schema": None,
        "expires_at": None,
    }
    assert run["actions"] == ["cancel", "resume", "fork"]


async def test_the_journal_has_the_entries_of_the_run_alone(site: Site) -> None:
    first = await site.ann.ask("hi")
    second = await site.ann.ask("buy a lamp", previous_response_id=first["id"])

    page = (await site.ops.get(f"/admin/runs/{first['id']}/journal")).json()
    rest = (await site.ops.get(f"/admin/runs/{second['id']}/journal", after=4, limit=1)).json()

    assert [one["type"] for one in page["data"]] == ["RunStarted", "ModelReplied", "RunFinished"]
    assert [(one["position"], one["run"]) for one in rest["data"]] == [(5, 2)]
    assert (page["has_more"], rest["has_more"]) == (False, True)


async def test_an_export_has_the_whole_journal(site: Site) -> None:
    made = await site.ann.ask("hi")

    answer = await site.ops.get(f"/admin/runs/{made['id']}/export")

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert made["id"][5:49] in answer.headers["content-disposition"]
    assert [one["type"] for one in lines] == ["RunStarted", "ModelReplied", "RunFinished"]
    assert lines[0]["body"]["items"][0]["content"] == "hi"


@pytest.mark.parametrize("path", ["", "/journal", "/export"])
@pytest.mark.parametrize("id", [NOWHERE, "resp_1", "conv_1"])
async def test_a_run_that_does_not_exist_is_not_found(site: Site, id: str, path: str) -> None:
    answer = await site.ops.get(f"/admin/runs/{id}{path}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_run_of_no_conversation_is_named_as_a_run(site: Site) -> None:
    answer = await site.ops.get(f"/admin/runs/{NOWHERE}")

    assert answer.json()["error"]["message"] == f"no run {NOWHERE}"


# --- actions ----------------------------------------------------------------------------------


async def test_a_failed_run_is_retried_in_its_conversation(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = await failed(site)

    new = await act(site.ops, made["id"], "retry")

    assert new["id"] == f"{made['id'][:-1]}2"
    assert (await site.ann.settled(new["id"]))["status"] == "completed"
    run = await shown(site.ops, new["id"])
    assert (run["principal"], run["run"], run["thread"]) == ("ann", 2, new["thread"])
    store = site.ops.web.services.store
    entries = (await store.load(RunId.parse(new["id"]).thread)).entries
    first, second = [e.event for e in entries if isinstance(e.event, RunStarted)]
    assert second.items == first.items
    assert (first.key_id, second.key_id) == ("key-1", "key-3")
    record = next(one for one in caplog.records if one.getMessage() == "operator_action")
    assert {"action": "retry", "run": made["id"], "operator": "olga", "key": "key-3"}.items() <= (
        record.__dict__["fields"].items()
    )


async def test_only_the_last_run_of_a_conversation_is_retried_if_it_did_not_complete(
    site: Site,
) -> None:
    made = await failed(site)
    await act(site.ops, made["id"], "retry")
    done = await site.ann.ask("hi")
    waiting, _ = await approval(site.ann)

    for id in (made["id"], done["id"], waiting["id"]):
        answer = await site.ops.post(f"/admin/runs/{id}/retry")

        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_a_run_is_cancelled(site: Site) -> None:
    response, _ = await approval(site.ann)

    first = await act(site.ops, response["id"], "cancel")
    second = await act(site.ops, response["id"], "cancel")

    assert first == second == {**first, "status": "cancelled", "id": response["id"]}


async def test_a_call_is_approved_and_the_journal_names_the_operator(site: Site) -> None:
    response, _ = await approval(site.ann)

    await act(site.ops, response["id"], "resume", {"approve": True, "reason": "fine"})

    ended = await site.ann.settled(f"{response['id']}c1")
    assert "refunded a lamp" in said(ended)
    store = site.ops.web.services.store
    entries = (await store.load(RunId.parse(response["id"]).thread)).entries
    [answered] = [e.event for e in entries if isinstance(e.event, ApprovalAnswered)]
    assert (answered.by, answered.key_id, answered.reason) == ("olga", "key-3", "fine")


async def test_a_call_is_denied_by_its_id(site: Site) -> None:
    response, request = await approval(site.ann)
    body = {"approve": False, "call_id": request["id"]}

    await act(site.ops, response["id"], "resume", body)

    assert "not allowed by olga" in said(await site.ann.settled(f"{response['id']}c1"))
    again = await site.ops.post(f"/admin/runs/{response['id']}/resume", body)
    assert error(again) == (400, "approval_not_pending", "call_id")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("resume", {"approve": True}),
        ("resume", {"approve": True, "call_id": "9.9"}),
        ("settle", {"settled": "done"}),
    ],
)
async def test_an_answer_that_no_call_waits_for_is_rejected(
    site: Site, action: str, body: Json
) -> None:
    made = await site.ann.ask("hi")

    answer = await site.ops.post(f"/admin/runs/{made['id']}/{action}", body)

    assert error(answer) == (400, "approval_not_pending", "call_id")


async def test_an_unknown_outcome_is_settled(site: Site) -> None:
    run = await unsettled(site.ann)
    before = await shown(site.ops, str(run))

    await act(site.ops, str(run), "settle", {"settled": "done", "result": "it was shipped"})

    assert [(one["kind"], one["id"]) for one in before["waiting"]] == [("unknown", None)]
    assert before["actions"] == ["cancel", "settle", "fork"]
    entries = (await site.ops.web.services.store.load(run.thread)).entries
    [settled] = [e.event for e in entries if isinstance(e.event, OutcomeSettled)]
    assert (settled.settled, settled.by, settled.key_id) == ("done", "olga", "key-3")
    assert "it was shipped" in said(await site.ann.settled(f"{run}c1"))


async def test_a_run_is_forked_for_its_principal(site: Site) -> None:
    made = await site.ann.ask("hi")

    whole = await act(site.ops, made["id"], "fork")
    short = await act(site.ops, made["id"], "fork", {"position": 1})

    assert whole["id"] == whole["thread"] != short["id"]
    assert (await site.ann.get(f"/conversations/{short['id']}")).status_code == 200
    beyond = await site.ops.post(f"/admin/runs/{made['id']}/fork", {"position": 99})
    assert beyond.status_code == 404
