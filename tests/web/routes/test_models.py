"""The models that a caller may name: workflows, and models that a workflow allows."""

from dataclasses import replace
from typing import Any

import pytest
from openai import NotFoundError

from tests.engine.stage import SHOP
from tests.web.serving import USAGE, Rules, Serve, Served
from twelvefold.core.events import ModelReplied, RunStarted, Usage
from twelvefold.core.ids import parse_thread_id
from twelvefold.core.models import Fallback
from twelvefold.errors import ModelUnavailable

CHOICE = replace(SHOP, models=("fast", "careful"))
UNKNOWN = "there are: shop, shop/fast, shop/careful"


@pytest.fixture
async def choice(serve: Serve) -> Served:
    return await serve(workflow=CHOICE, models={"fast": Rules(), "careful": Rules()})


async def test_models_are_listed_with_their_workflow(choice: Served) -> None:
    listed = await choice.sdk.models.list()

    assert [model.id for model in listed.data] == ["shop", "shop/fast", "shop/careful"]
    assert (await choice.sdk.models.retrieve("shop/fast")).id == "shop/fast"
    document = (await choice.http.get("/openapi.json")).json()
    model = document["components"]["schemas"]["CreateResponse"]["properties"]["model"]
    assert model["enum"] == ["shop", "shop/fast", "shop/careful"]


async def test_a_model_has_the_examples_of_its_workflow(serve: Serve) -> None:
    workflow = replace(CHOICE, examples=("Where is order 7?", "Cancel order 7."))
    served = await serve(workflow=workflow, models={"fast": Rules(), "careful": Rules()})

    for name in ("shop", "shop/fast"):
        model = (await served.get(f"/models/{name}")).json()
        assert model["examples"] == ["Where is order 7?", "Cancel order 7."]


@pytest.mark.parametrize("name", ["shop/slow", "shop/", "/fast", "fast", "shop/fast/fast"])
async def test_an_unknown_model_names_those_that_there_are(choice: Served, name: str) -> None:
    body: dict[str, Any] = {"model": name, "input": "Hi"}
    refused = [
        await choice.get(f"/models/{name}"),
        await choice.post("/responses", body),
        await choice.post(
            "/chat/completions", {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        ),
    ]

    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert UNKNOWN in answer.json()["error"]["message"]
    with pytest.raises(NotFoundError):
        await choice.sdk.models.retrieve("shop/slow")


async def test_a_caller_chooses_a_model_that_the_workflow_allows(choice: Served) -> None:
    response = await choice.ask("Hi", model="shop/fast")

    assert (response["status"], response["model"]) == ("completed", "shop/fast")
    assert (await choice.get(f"/responses/{response['id']}")).json()["model"] == "shop/fast"
    fast = choice.web.services.models["fast"]
    assert isinstance(fast, Rules)
    assert len(fast.requests) == 1
    assert choice.model.requests == []


async def test_the_next_turn_may_have_another_model(choice: Served) -> None:
    first = await choice.ask("Hi", model="shop/fast")

    second = await choice.ask("Hi", model="shop", previous_response_id=first["id"])

    assert second["model"] == "shop"
    assert len(choice.model.requests) == 1


async def test_a_chat_completion_has_the_model_that_the_caller_chose(choice: Served) -> None:
    completion = await choice.sdk.chat.completions.create(
        model="shop/careful", messages=[{"role": "user", "content": "Hi"}]
    )

    assert completion.model == "shop/careful"
    careful = choice.web.services.models["careful"]
    assert isinstance(careful, Rules)
    assert len(careful.requests) == 1


async def test_a_fallback_counts_in_the_usage_and_is_shown_in_the_journal(serve: Serve) -> None:
    broken, careful = Rules(), Rules()
    broken.fault = ModelUnavailable("it is down")
    broken.fault.usage = Usage(input_tokens=100, output_tokens=7)
    chain = replace(SHOP, model=Fallback("fast", "careful"))
    api = await serve(workflow=chain, models={"fast": broken, "careful": careful})

    response = await api.ask("Hi")

    assert (response["model"], response["status"]) == ("shop", "completed")
    assert response["usage"]["input_tokens"] == USAGE.input_tokens + 100
    thread = response["id"].removeprefix("resp_")[:44]
    journal = (await api.get(f"/conversations/conv_{thread}/journal")).json()["data"]
    (reply,) = [entry for entry in journal if entry["type"] == "ModelReplied"]
    assert (reply["named"], reply["usage"]["input_tokens"]) == ("careful", USAGE.input_tokens)
    usage = {"input_tokens": 100, "output_tokens": 7}
    assert reply["attempts"] == [{"model": "fast", "error": "it is down", "usage": usage}]


async def test_the_journal_has_the_model_of_each_reply(choice: Served) -> None:
    response = await choice.ask("Hi", model="shop/fast")
    thread = parse_thread_id(response["id"].removeprefix("resp_")[:44])

    entries = (await choice.web.services.store.load(thread)).entries

    started = next(one.event for one in entries if isinstance(one.event, RunStarted))
    (replied,) = [one.event for one in entries if isinstance(one.event, ModelReplied)]
    assert (started.options.model, replied.named) == ("fast", "fast")


async def test_an_approval_keeps_the_model_of_the_run(choice: Served) -> None:
    waiting = await choice.ask("refund a lamp", model="shop/fast")
    request = next(one for one in waiting["output"] if one["type"] == "mcp_approval_request")
    answer = [{"type": "mcp_approval_response", "approval_request_id": request["id"]}]
    answer[0]["approve"] = True

    other = await choice.post("/responses", {"model": "shop/careful", "input": answer})
    response = await choice.ask(answer)

    assert other.status_code == 400
    assert "must be 'shop/fast', the model of the run that waits" in other.text
    assert (response["status"], response["model"]) == ("completed", "shop/fast")
    fast = choice.web.services.models["fast"]
    assert isinstance(fast, Rules)
    assert len(fast.requests) == 2
