"""A reply with very many tool calls: only the permitted number runs, and each is shown once."""

from collections import Counter

import pytest

from tests.web.serving import USAGE, Json, Rules, Serve, Served, events
from twelvefold.core.events import Item
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.scripted import calls, says

MANY = 100
MOST = 32
NOT_RUN = "not run: a reply may have at most 32 tool calls; call again in smaller groups"
THEIRS = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
}


class Eager(Rules):
    """A model that replies with very many calls of the tool that the user names."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests.append(request)
        return ModelReply(tuple(self._items(request)), USAGE, "eager", "ab" * 32)

    def _items(self, request: ModelRequest) -> list[Item]:
        last = request.items[-1]
        if last["type"] == "function_call_output":
            return list(says("done"))
        tool = str(last["content"] if isinstance(last["content"], str) else "buy")
        asked = [(tool, {"item": f"lamp {number}"}) for number in range(MANY)]
        return [item | {"call_id": f"c{at}"} for at, item in enumerate(calls(*asked))]


@pytest.fixture
async def eager(serve: Serve) -> Served:
    return await serve(model=Eager())


def statuses(response: Json) -> Counter[str]:
    return Counter(one["status"] for one in response["output"] if one["type"] == "mcp_call")


@pytest.mark.parametrize("background", [False, True])
async def test_calls_beyond_the_most_are_shown_as_failed(
    eager: Served, *, background: bool
) -> None:
    made = await eager.ask("buy", background=background)
    response = await eager.settled(made["id"])

    assert response["status"] == "completed"
    assert statuses(response) == {"completed": MOST, "failed": MANY - MOST}
    failed = [one for one in response["output"] if one.get("status") == "failed"]
    assert all(NOT_RUN in str(one["error"]) for one in failed)
    assert response["output"][-1]["content"][0]["text"] == "done"


async def test_a_stream_has_each_call_once(eager: Served) -> None:
    streamed = await eager.told("buy")

    kinds = Counter(event["type"] for event in streamed)
    assert kinds["response.mcp_call.in_progress"] == MANY
    assert kinds["response.mcp_call.completed"] == MOST
    assert kinds["response.mcp_call.failed"] == MANY - MOST
    assert statuses(streamed[-1]["response"]) == {"completed": MOST, "failed": MANY - MOST}
    assert await eager.replayed(streamed[-1]["response"]["id"]) == streamed


async def test_chat_completions_have_the_same_limit(eager: Served) -> None:
    body = {"model": "shop", "messages": [{"role": "user", "content": "buy"}]}

    answer = (await eager.post("/chat/completions", body)).json()

    assert answer["choices"][0]["message"]["content"] == "done"
    results = [
        item["output"]
        for item in eager.model.requests[-1].items
        if item["type"] == "function_call_output"
    ]
    assert sum(NOT_RUN in one for one in results) == MANY - MOST
    assert len(results) == MANY


async def test_all_calls_of_the_clients_tools_are_passed_on(eager: Served) -> None:
    response = await eager.ask("weather", tools=[THEIRS])
    body = {"model": "shop", "input": "weather", "tools": [THEIRS], "stream": True}
    streamed = await events(eager.http, "POST", "/v1/responses", json=body)

    assert response["status"] == "completed"
    assert [one["type"] for one in response["output"]] == ["function_call"] * MANY
    assert len(streamed[-1]["response"]["output"]) == MANY


@pytest.mark.parametrize("most", [5, 50])
async def test_the_clients_own_maximum_is_valid_too(eager: Served, most: int) -> None:
    response = await eager.ask("buy", max_tool_calls=most)

    assert statuses(response)["completed"] == min(most, MOST)
    assert statuses(response).total() == MANY
