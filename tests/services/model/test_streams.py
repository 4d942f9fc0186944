"""The mock server's streams are what OpenAI's own client takes for a reply."""

import pytest
from openai import AsyncOpenAI

from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, chat_events, responses_events

REPLIES = [
    FakeReply("Hello 😀"),
    FakeReply("Wait.", [("c1", "enrol", '{"a": 1}'), ("c2", "drop", "{}")]),
]


def client_of(server: MockServer) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="any", base_url=server.url, max_retries=0)


@pytest.mark.parametrize("reply", REPLIES)
async def test_of_the_responses_api(server: MockServer, reply: FakeReply) -> None:
    server.will(streams(responses_events(reply)))
    async with (
        client_of(server) as client,
        client.responses.stream(model="m", input="hello") as events,
    ):
        response = await events.get_final_response()

    calls = [item for item in response.output if item.type == "function_call"]
    assert response.output_text == reply.text
    assert [(c.call_id, c.name, c.arguments) for c in calls] == list(reply.calls)


@pytest.mark.parametrize("reply", REPLIES)
async def test_of_chat_completions(server: MockServer, reply: FakeReply) -> None:
    server.will(streams(chat_events(reply)))
    async with (
        client_of(server) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hello"}]
        ) as events,
    ):
        completion = await events.get_final_completion()

    message = completion.choices[0].message
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
    assert message.content == reply.text
    assert calls == list(reply.calls)
