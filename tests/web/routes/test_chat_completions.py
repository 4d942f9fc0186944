"""Chat completions: the older API for the same runs."""

import asyncio
from typing import Any

import pytest
from openai import APIError, InternalServerError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.engine.stage import Stage
from tests.web.asking import chunks, error
from tests.web.serving import Rules, Serve, Served
from twelvefold.errors import ModelRejected

HI: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
BUY: Any = [{"role": "user", "content": "buy a lamp"}]
REFUND: Any = [{"role": "user", "content": "refund a lamp"}]


async def test_a_chat_is_answered(api: Served) -> None:
    made = await api.sdk.chat.completions.create(model="shop", messages=HI)

    assert isinstance(made, ChatCompletion)
    [choice] = made.choices
    assert (choice.message.content, choice.finish_reason) == ("You said: hi", "stop")
    assert made.id.startswith("chatcmpl-")
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (20, 25)
    assert [item["role"] for item in api.model.requests[0].items] == ["system", "user"]


async def test_a_chat_is_streamed(serve: Serve) -> None:
    api = await serve(model=Rules(pause_s=0.06))

    read = await chunks(api, messages=BUY, stream_options={"include_usage": True})

    for chunk in read:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    deltas = [chunk["choices"][0]["delta"] for chunk in read[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == "The tool says: bought a lamp"
    assert [chunk["choices"][0]["finish_reason"] for chunk in read[-3:-1]] == [None, "stop"]
    assert (read[-1]["choices"], read[-1]["usage"]["total_tokens"]) == ([], 50)
    assert {chunk["id"] for chunk in read} == {read[0]["id"]}


async def test_the_official_client_reads_the_stream(api: Served) -> None:
    async with api.sdk.chat.completions.stream(model="shop", messages=BUY) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()

    assert final.choices[0].message.content == "The tool says: bought a lamp"


async def test_a_chat_is_not_stored(api: Served) -> None:
    await api.sdk.chat.completions.create(model="shop", messages=HI)

    assert (await api.get("/conversations")).json()["data"] == []


async def test_a_chat_that_fails_is_an_error_that_is_not_repeated(api: Served) -> None:
    api.model.fault = ModelRejected("no such model")

    with pytest.raises(InternalServerError) as caught:
        await api.sdk.chat.completions.create(model="shop", messages=HI)
    stream = await api.sdk.chat.completions.create(model="shop", messages=HI, stream=True)
    with pytest.raises(APIError, match="no such model"):
        async for _ in stream:
            pass

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(api.model.requests) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_with_a_key_continues_elsewhere_when_its_process_ends(
    serve: Serve, stream: bool
) -> None:
    one = await serve(worker=False, grace_s=1)
    one.model.gate.clear()
    body = {"model": "shop", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    key = {"headers": {"Idempotency-Key": "one"}}

    asked = asyncio.create_task(one.post("/chat/completions", body, **key))
    await one.model.asked.wait()
    one.stop.set()
    broken = await asked
    other = await serve()
    again = await other.post("/chat/completions", body, **key)

    assert broken.status_code == (200 if stream else 503)
    assert "x-should-retry" not in broken.headers
    assert "this server cannot follow the turn to its end" in broken.text
    assert again.status_code == 200
    assert again.text.count('"finish_reason":"stop"') == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_cannot_ask_for_approval(api: Served, stream: bool) -> None:
    if stream:
        read = await chunks(api, messages=REFUND)
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in read)
    else:
        made = await api.sdk.chat.completions.create(model="shop", messages=REFUND)
        text = made.choices[0].message.content or ""

    assert "approval of refund" in text
    [run] = await api.web.services.store.runs(limit=10)
    while run.status != "cancelled":  # by us, or by a worker that was quicker
        await asyncio.sleep(0.01)
        [run] = await api.web.services.store.runs(limit=10)


async def test_a_chat_with_a_key_is_carried_out_once(api: Served, stage: Stage) -> None:
    key = {"idempotency-key": "one"}
    body = {"model": "shop", "messages": BUY}

    answers = await asyncio.gather(
        *(api.post("/chat/completions", body, headers=key) for _ in range(4))
    )

    assert len({answer.text for answer in answers}) == 1
    assert await stage.bought() == ["a lamp"]


async def test_an_invalid_chat_is_rejected_before_a_byte_is_sent(api: Served) -> None:
    for stream in (False, True):
        body = {"model": "nope", "messages": HI, "stream": stream}
        refused = await api.post("/chat/completions", body)

        assert error(refused) == (404, "model_not_found", "model")
