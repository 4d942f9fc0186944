"""Background, streams taken up again, cancelling, conversations, approvals: the official client.

The client has two processes to go to, and checks every answer against its own types.
"""

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.conformance.conftest import PLACES
from tests.conformance.environments import command
from tests.conformance.service import Service

pytestmark = [
    pytest.mark.mysql,
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # the first one installs the clients
    pytest.mark.asyncio(loop_scope="session"),
]
PLACE = PLACES[-1]
Story = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(service: Service) -> Story:
    key = await service.key(PLACE)
    words = [service.b.url, PLACE.wish]
    told = await service.run([*command("python", "openai_story.py"), *words], key)
    facts: Story = json.loads(told)
    return facts


async def test_a_background_response_is_polled_at_another_process(story: Story) -> None:
    told = story["background"]

    assert (told["first"], told["last"]) == ("queued", "completed")
    assert f"You are enrolled in {PLACE.course}" in told["text"]


async def test_a_stream_dropped_after_four_events_goes_on_at_another_process(story: Story) -> None:
    told = story["resumed"]
    numbers = [event["sequence_number"] for event in told["replayed"]]

    assert told["midway"] == "in_progress"
    assert told["dropped_and_resumed"] == told["replayed"]
    assert numbers == list(range(len(numbers)))
    assert told["replayed"][-1]["type"] == "response.completed"
    assert told["text"].split() == [str(number) for number in range(1, 301)]


async def test_a_cancelled_response_stays_so(story: Story) -> None:
    assert story["cancelled"] == {
        "before": "in_progress",
        "told": ["cancelled"] * 3,
        "last_event": "response.failed",
        "foreground": ["BadRequestError", "response_not_background"],
    }


async def test_a_conversation_goes_on_at_another_process(story: Story) -> None:
    messages = [["message", "user"], ["message", "assistant"]]

    assert story["conversed"] == {
        "metadata": {"for": "another"},
        "named": [True, True],
        "items": messages * 2,
        "text": "You said: Hello!",
        "deleted": ["NotFoundError", "not_found"],
    }


async def test_an_approval_counts_once(story: Story, service: Service) -> None:
    refunded = await service.column("select order_id from refunds")

    assert story["approved"] == {
        "request": ["refund", {"order": "A-17"}],
        "call": ["refund", True, '{"refunded":"A-17"}'],
        "refused": ["message"],
        "again": ["BadRequestError", "approval_not_pending"],
    }
    assert refunded == ["A-17"]
