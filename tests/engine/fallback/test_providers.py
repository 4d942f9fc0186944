"""A chain of models of two providers: the fields of each go back to it alone."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.engine.fallback.stories import process_with, replies
from tests.engine.stage import Stage, drive_new
from tests.services.model.builders import fast_settings
from tests.services.model.mock_server import Behaviour, MockServer, refuses, streams
from tests.services.model.streams import FakeReply, chat_events, chunk, responses_events, sse
from twelvefold.core.models import Fallback
from twelvefold.services.model.openai import OpenAIModel

CHAIN = Fallback("fast", "careful")
SIGNED = {"google": {"thought_signature": "SIG"}}


def looks(call_id: str, **extra: Any) -> Behaviour:
    """A reply of Chat Completions with a call of `look`, with fields of its provider."""
    function = {"name": "look", "arguments": json.dumps({"item": "a lamp"})}
    call = {"index": 0, "id": call_id, "type": "function", "function": function, **extra}
    return streams([chunk({"tool_calls": [call]}), chunk({}, "tool_calls"), sse("[DONE]")])


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[MockServer, MockServer]]:
    async with MockServer() as first, MockServer() as second:
        yield first, second


async def test_fields_of_a_provider_are_sent_to_it_alone(stage: Stage) -> None:
    async with servers() as (gemini, openai), AsyncExitStack() as stack:
        hello = streams(chat_events(FakeReply("Hello.")))
        down = refuses(503)
        gemini.will(looks("c1", extra_content=SIGNED), down, down, hello)
        openai.will(streams(responses_events(FakeReply("", calls=[("c2", "look", "{}")]))))
        fast = OpenAIModel(fast_settings(gemini.url, api="chat", model="gemini-3"))
        careful = OpenAIModel(fast_settings(openai.url, model="gpt-test"))
        for model in (fast, careful):
            stack.push_async_callback(model.close)

        outcome = await drive_new(process_with(stage, CHAIN, {"fast": fast, "careful": careful}))

        assert [one.named for one in await replies(stage, outcome.run)] == [
            "fast",
            "careful",
            "fast",
        ]
        assert "SIG" not in openai.calls[0].raw.decode()
        assert "SIG" in gemini.calls[-1].raw.decode()
