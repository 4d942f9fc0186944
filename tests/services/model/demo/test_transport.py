from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.services.model.builders import RecordingListener, model_request, user
from tests.services.model.mock_server import MockServer, streams
from twelvefold.core.events import Item
from twelvefold.services.model import open_model
from twelvefold.services.model.demo import open_demo, response_events
from twelvefold.services.model.items import message
from twelvefold.services.model.scripted import calls, says

BOTH = says("Let me see what there is.\n\n  Two spaces. ") + calls(("enrol", {"course": "CS 101"}))


async def test_the_rules_receive_the_request_body() -> None:
    bodies: list[dict[str, Any]] = []

    def rules(body: dict[str, Any]) -> list[Item]:
        bodies.append(body)
        return says("Hi")

    await open_demo(rules).reply(model_request(user("hello")), RecordingListener())

    [body] = bodies
    assert body["input"] == [user("hello")]
    assert body["instructions"] == "Be brief."
    assert [tool["name"] for tool in body["tools"]] == ["enrol"]


async def test_text_is_streamed_in_small_pieces() -> None:
    listener = RecordingListener()

    reply = await open_demo(lambda _: BOTH).reply(model_request(), listener)

    assert len(listener.deltas) == 8
    assert listener.text_now == "Let me see what there is.\n\n  Two spaces. "
    assert reply.items[0] == BOTH[0]
    assert reply.items[1] == {**BOTH[1], "call_id": reply.items[1]["call_id"]}
    assert reply.model == "demo"


async def test_a_call_gets_an_id_that_depends_on_the_request_alone() -> None:
    model = open_demo(lambda _: BOTH)

    first, again, other = [
        (await model.reply(model_request(user(text)), RecordingListener())).items[1]["call_id"]
        for text in "aab"
    ]

    assert first == again != other


async def test_a_refusal_is_streamed_too() -> None:
    listener, refusal = RecordingListener(), [message("", refusal="I cannot do that.")]

    reply = await open_demo(lambda _: refusal).reply(model_request(), listener)

    assert reply.items == tuple(refusal)
    assert (len(listener.deltas), listener.text_now) == (4, "I cannot do that.")


async def test_openais_client_reads_a_refusal(server: MockServer) -> None:
    server.will(streams(response_events([message("", refusal="I cannot do that.")], b"{}")))
    async with (
        AsyncOpenAI(
            api_key="any", base_url=server.url, max_retries=0, _strict_response_validation=True
        ) as client,
        client.responses.stream(model="demo", input="hello") as events,
    ):
        response = await events.get_final_response()

    [item] = response.output
    assert item.type == "message"
    assert [part.type for part in item.content] == ["refusal"]


@pytest.mark.parametrize("items", [says("Hello, you there."), says(""), BOTH])
async def test_openais_client_reads_the_stream(server: MockServer, items: list[Item]) -> None:
    server.will(streams(response_events(items, b"{}")))
    async with (
        AsyncOpenAI(
            api_key="any", base_url=server.url, max_retries=0, _strict_response_validation=True
        ) as client,
        client.responses.stream(model="demo", input="hello") as events,
    ):
        response = await events.get_final_response()

    assert [item.type for item in response.output] == [item["type"] for item in items]
    assert response.output_text == "".join(
        item["content"][0]["text"] for item in items if item["type"] == "message"
    )


def test_the_demo_model_is_used_without_a_server() -> None:
    assert open_model(base_url="", api_key="", model="gpt-5").name == "demo"
