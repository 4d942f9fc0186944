"""Responses: create, list, cancel and delete, and access by other principals."""

import asyncio
from typing import Any

import pytest
from openai import BadRequestError

from tests.engine.stage import Stage
from tests.web.asking import NOWHERE, answer_to, approval, error, said
from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.sdk import check_response
from tests.web.serving import Json, Serve, Served
from twelvefold.core.events import RunStarted
from twelvefold.errors import ModelRejected, ModelUnavailable, StoreUnavailable
from twelvefold.web.schemas.decode import MAX_DEPTH

# --- a turn ---------------------------------------------------------------------------------------


async def test_a_response_has_all_fields_that_both_specifications_require(api: Served) -> None:
    response = await api.ask("hello", metadata={"a": "b"}, user="ann")

    check_response(response)
    assert (response["status"], said(response)) == ("completed", "You said: hello")
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] == 25
    assert (response["metadata"], response["user"]) == ({"a": "b"}, "ann")
    assert await api.settled(response["id"]) == response


@pytest.mark.parametrize("path", ["/responses", "/chat/completions"])
@pytest.mark.parametrize("background", [False, True])
async def test_a_run_has_the_span_of_its_request(api: Served, path: str, background: bool) -> None:
    span = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    is_chat = path == "/chat/completions"
    what = {"messages": [{"role": "user", "content": "hi"}]} if is_chat else {"input": "hi"}
    body = {"model": "shop", **what} | ({"background": background} if not is_chat else {})

    answer = await api.post(path, body, headers={"traceparent": span})

    assert answer.status_code == 200
    store = api.web.services.store
    [run] = await store.runs(limit=10)
    first = (await store.load(run.run.thread)).entries[0].event
    assert isinstance(first, RunStarted)
    assert first.trace == span


async def test_the_official_client_accepts_a_response(api: Served) -> None:
    made = await api.sdk.responses.create(model="shop", input="buy a lamp")
    read = await api.sdk.responses.retrieve(made.id)
    listed = await api.sdk.responses.input_items.list(made.id)

    assert made.output_text == "The tool says: bought a lamp"
    assert [item.type for item in made.output] == ["mcp_call", "message"]
    assert read == made
    assert [item.type async for item in listed] == ["message"]


async def test_an_invalid_request_is_rejected_before_anything_is_written(
    api: Served, stage: Stage
) -> None:
    for stream in (False, True):
        body = {"model": "nope", "input": "hi", "stream": stream}
        refused = await api.post("/responses", body)
        assert error(refused) == (404, "model_not_found", "model")
        assert refused.headers["content-type"] == "application/json"

    listed = await api.get("/conversations")

    assert listed.json()["data"] == []
    assert api.model.requests == []


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"temperature": NaN}', b'"\\ud800"'])
async def test_a_body_that_is_no_object_is_rejected(api: Served, body: bytes) -> None:
    json = {"content-type": "application/json"}
    refused = await api.http.post("/v1/responses", content=body, headers=json)

    assert error(refused) == (400, "invalid_json", None)


async def test_a_form_is_no_json(api: Served) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    refused = await api.http.post("/v1/responses", content=b"{}", headers=form)

    assert error(refused) == (415, "unsupported_media_type", None)


async def test_a_body_too_long_or_too_deep_is_rejected_and_the_next_request_is_accepted(
    serve: Serve,
) -> None:
    api = await serve(max_body_bytes=2_000_000)

    async def endless() -> Any:
        for _ in range(70):
            yield b" " * 65_536

    json = {"content-type": "application/json"}
    announced = await api.http.post("/v1/responses", content=b" " * 3_000_000, headers=json)
    unannounced = await api.http.post("/v1/responses", content=endless(), headers=json)
    deep = await api.http.post("/v1/responses", content=b"[" * 50_000, headers=json)
    nested: Any = "x"
    for _ in range(MAX_DEPTH):
        nested = [nested]
    deeper = await api.post("/responses", {"model": "shop", "input": nested})

    assert [announced.status_code, unannounced.status_code] == [413, 413]
    assert [deep.status_code, deeper.status_code] == [400, 400]
    assert (await api.ask("x" * 200_000))["status"] == "completed"


@pytest.mark.parametrize(
    "text",
    ["🙂 \N{ARABIC LETTER ALEF}", "a\u2028b\u2029c", "\ufeffbom", "nul \0 nul", "\r\n\t\x7f"],
)
async def test_any_text_is_returned_unchanged(api: Served, text: str) -> None:
    response = await api.ask(text)
    events = await api.told(text)
    listed = (await api.get(f"/responses/{response['id']}/input_items")).json()

    assert listed["data"][0]["content"] == [{"type": "input_text", "text": text}]
    assert said(response) == said(events[-1]["response"]) == f"You said: {text}"


async def test_a_run_that_fails_is_an_answer_like_any_other(api: Served) -> None:
    api.model.fault = ModelRejected("no such model")

    response = await api.ask("hello")

    check_response(response)
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert await api.settled(response["id"]) == response


async def test_a_turn_fails_if_the_model_is_unavailable(serve: Serve) -> None:
    api = await serve(worker=False)
    api.model.fault = ModelUnavailable("down")

    response = await api.ask("hello")
    events = await api.told("hello")

    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert "try again later" in response["error"]["message"]
    assert events[-1]["type"] == "response.failed"


async def test_turns_beyond_the_slots_are_rejected(serve: Serve) -> None:
    api = await serve(max_runs=1)
    api.model.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(api.ask("one"))
        await api.model.asked.wait()
        refused = await api.post("/responses", {"model": "shop", "input": "two"})
        api.model.gate.set()

    assert error(refused) == (429, "too_many_runs", None)
    assert refused.headers["retry-after"] == "2"
    assert said(first.result()) == "You said: one"


async def test_concurrent_turns_are_not_mixed_up(api: Served) -> None:
    texts = [f"turn {number}" for number in range(24)]

    responses = await asyncio.gather(*(api.ask(text) for text in texts))

    assert [said(one) for one in responses] == [f"You said: {text}" for text in texts]


# --- input ----------------------------------------------------------------------------------------


async def test_the_input_is_listed_page_by_page(api: Served) -> None:
    items = [{"role": "user", "content": f"item {number}"} for number in range(5)]
    response = await api.ask(items)
    url = f"/responses/{response['id']}/input_items"

    whole = (await api.get(url, order="asc")).json()
    pages = [(await api.get(url, limit=2)).json()]
    while pages[-1]["has_more"]:
        pages.append((await api.get(url, limit=2, after=pages[-1]["last_id"])).json())

    ids = [item["id"] for item in whole["data"]]
    assert [item["content"][0]["text"] for item in whole["data"]] == [
        f"item {number}" for number in range(5)
    ]
    assert [item["id"] for page in pages for item in page["data"]] == ids[::-1]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    assert (whole["first_id"], whole["last_id"]) == (ids[0], ids[-1])
    assert (await api.get(url)).json()["data"] == whole["data"][::-1]


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"order": "up"}, {"after": "msg_1"}]
)
async def test_an_invalid_page_is_rejected(api: Served, query: Json) -> None:
    response = await api.ask("hi")

    refused = await api.get(f"/responses/{response['id']}/input_items", **query)

    assert error(refused) == (400, "invalid_value", next(iter(query)))


# --- background, cancelled, deleted ---------------------------------------------------------------


async def test_a_queued_turn_is_answered_although_the_database_fails_then(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = await serve(worker=False)

    async def gone(*args: Any, **more: Any) -> None:
        raise StoreUnavailable("the database cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(web.web.services.store, "follow", gone)
        queued = await web.ask("hi", background=True)

    assert (await web.get(f"/responses/{queued['id']}")).json() == queued


async def test_a_background_turn_is_answered_at_once_and_continues(serve: Serve) -> None:
    web = await serve(worker=False)
    queued = await web.ask("buy a lamp", background=True)
    still = (await web.get(f"/responses/{queued['id']}")).json()

    await serve()
    done = await web.settled(queued["id"])

    check_response(queued)
    assert (queued["status"], queued["usage"], queued["output"]) == ("queued", None, [])
    assert still == queued
    assert (done["status"], done["background"]) == ("completed", True)
    assert said(done) == "The tool says: bought a lamp"


async def test_a_queued_response_is_cancelled_and_stays_so(serve: Serve) -> None:
    api = await serve(worker=False)
    queued = await api.ask("buy a lamp", background=True)
    url = f"/responses/{queued['id']}/cancel"

    first, second = await api.post(url), await api.post(url)
    await serve()
    await asyncio.sleep(0.2)

    assert first.json()["status"] == "cancelled"
    assert second.json() == first.json() == await api.settled(queued["id"])
    assert (await api.replayed(queued["id"]))[-1]["type"] == "response.failed"


async def test_a_running_response_is_cancelled_and_stays_so(api: Served, stage: Stage) -> None:
    api.model.gate.clear()
    running = await api.ask("buy a lamp", background=True)
    await api.model.asked.wait()
    watched = asyncio.create_task(api.replayed(running["id"]))

    cancelled = await api.sdk.responses.cancel(running["id"])
    api.model.gate.set()
    events = await watched

    assert cancelled.status == "cancelled"
    assert events[-1]["response"]["status"] == "cancelled"
    assert (await api.settled(running["id"]))["status"] == "cancelled"
    assert await stage.bought() == []


async def test_a_response_that_waits_for_a_person_can_be_cancelled_and_then_deleted(
    api: Served, stage: Stage
) -> None:
    waiting = await api.ask("refund a lamp")
    url = f"/responses/{waiting['id']}"
    assert (await api.http.delete(f"/v1{url}")).status_code == 409

    cancelled = await api.post(f"{url}/cancel?force=true")

    assert cancelled.json()["status"] == "completed"
    [run] = await api.web.services.store.runs(limit=9)
    while run.status != "cancelled":  # by us, or by a worker that was quicker
        await asyncio.sleep(0.01)
        [run] = await api.web.services.store.runs(limit=9)
    assert (await api.http.delete(f"/v1{url}")).status_code == 200


async def test_a_turn_that_is_not_stored_is_in_no_conversation(api: Served) -> None:
    made = await api.ask("hi", store=False)
    thread = made["id"].removeprefix("resp_")[:44]

    for path in ("", "/items", "/journal"):
        assert (await api.get(f"/conversations/conv_{thread}{path}")).status_code == 404
    assert (await api.get("/conversations")).json()["data"] == []


async def test_a_response_that_is_over_cannot_be_cancelled(api: Served) -> None:
    response = await api.ask("hi", background=True)
    done = await api.settled(response["id"])

    assert (await api.post(f"/responses/{response['id']}/cancel")).json() == done


async def test_a_foreground_response_is_cancelled_only_by_force(api: Served) -> None:
    api.model.gate.clear()
    conversation = (await api.post("/conversations")).json()["id"]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(api.ask("hi", conversation=conversation))
        await api.model.asked.wait()
        id = (await api.get(f"/conversations/{conversation}")).json()["response"]
        refused = await api.post(f"/responses/{id}/cancel")
        forced = await api.post(f"/responses/{id}/cancel?force=true")

    assert error(refused) == (400, "response_not_background", None)
    assert forced.json()["status"] == "cancelled"
    assert waiting.result() == forced.json()
    assert (await api.post(f"/responses/{NOWHERE}/cancel")).status_code == 404


async def test_a_deleted_response_is_not_found(api: Served) -> None:
    response = await api.ask("hi")
    url = f"/v1/responses/{response['id']}"

    deleted = await api.http.delete(url)

    assert deleted.json() == {
        "id": response["id"],
        "object": "response.deleted",
        "deleted": True,
    }
    assert {(await api.http.delete(url)).status_code, (await api.http.get(url)).status_code} == {
        404
    }
    behind = {"model": "shop", "input": "hi", "previous_response_id": response["id"]}
    assert error(await api.post("/responses", behind))[1] == "previous_response_not_found"


async def test_a_response_that_is_under_way_is_not_deleted(api: Served) -> None:
    api.model.gate.clear()
    response = await api.ask("hi", background=True)

    refused = await api.http.delete(f"/v1/responses/{response['id']}")
    api.model.gate.set()

    assert error(refused) == (409, "response_not_completed", None)


async def test_a_run_continues_when_its_client_leaves(api: Served, stage: Stage) -> None:
    api.model.gate.clear()
    conversation = (await api.post("/conversations")).json()["id"]
    body = {"model": "shop", "input": "buy a lamp", "conversation": conversation}
    asking = asyncio.create_task(api.post("/responses", body))
    await api.model.asked.wait()
    asking.cancel()
    await asyncio.wait([asking])
    api.model.gate.set()

    id = (await api.get(f"/conversations/{conversation}")).json()["response"]
    done = await api.settled(id)

    assert done["status"] == "completed"
    assert await stage.bought() == ["a lamp"]


async def test_a_run_that_no_client_can_read_is_cancelled(api: Served, stage: Stage) -> None:
    api.model.gate.clear()
    for stream in (False, True):
        body = {"model": "shop", "input": "buy a lamp", "store": False, "stream": stream}
        api.model.asked.clear()
        asking = asyncio.create_task(api.post("/responses", body))
        await api.model.asked.wait()
        asking.cancel()
        await asyncio.wait([asking])
    statuses: list[str] = []
    while statuses != ["cancelled", "cancelled"]:
        statuses = [run.status for run in await api.web.services.store.runs(limit=10)]
    api.model.gate.set()

    assert await stage.bought() == []


# --- whose ----------------------------------------------------------------------------------------


async def test_responses_of_another_principal_are_not_found(serve: Serve, stage: Stage) -> None:
    store = stage.process().store
    await store.add_key(api_key())
    await store.add_key(api_key(OTHER, "bob", "key-2"))
    ann = await serve(headers={"authorization": f"Bearer {TOKEN}"})
    bob = await serve(headers={"authorization": f"Bearer {OTHER}"})
    conversation = (await ann.post("/conversations")).json()["id"]
    first, request = await approval(ann, conversation=conversation)

    url = f"/responses/{first['id']}"
    gone = [
        await bob.get(url),
        await bob.get(url, stream="true"),
        await bob.get(f"{url}/input_items"),
        await bob.post(f"{url}/cancel"),
        await bob.http.delete(f"/v1{url}"),
        await bob.get(f"/conversations/{conversation}"),
        await bob.get(f"/conversations/{conversation}/items"),
        await bob.get(f"/conversations/{conversation}/journal"),
        await bob.post(f"/conversations/{conversation}/fork", {"position": 1}),
        await bob.post(f"/conversations/{conversation}/cancel"),
        await bob.http.delete(f"/v1/conversations/{conversation}"),
    ]
    forged = await bob.post("/responses", {"model": "shop", "input": answer_to(request, True)})

    assert {one.status_code for one in gone} == {404}
    assert error(forged)[1] == "approval_not_pending"
    assert (await bob.get("/conversations")).json()["data"] == []
    assert (await ann.get(url)).json() == first


async def test_the_official_client_raises_its_own_errors(api: Served) -> None:
    with pytest.raises(BadRequestError, match="at most 2") as caught:
        await api.sdk.responses.create(model="shop", input="hi", temperature=9)

    assert (caught.value.code, caught.value.param) == ("decimal_above_max_value", "temperature")


async def test_workflows_are_models(api: Served) -> None:
    listed = await api.sdk.models.list()
    one = await api.sdk.models.retrieve("shop")
    missing = await api.get("/models/nope")

    assert [model.id async for model in listed] == [one.id] == ["shop"]
    assert error(missing) == (404, "model_not_found", "model")


async def test_paths_that_this_server_does_not_have_are_404(api: Served) -> None:
    for path in ("/responses/compact", "/responses/input_tokens", "/files", "/images/generations"):
        assert (await api.post(path)).status_code == 404
