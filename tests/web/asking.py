"""Requests of tests, and what they read of the answers."""

import json
from typing import Any

import httpx2

from tests.web.serving import Json, Served

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
NOWHERE = "resp_" + "0" * 44 + "1"


def said(response: Json) -> str:
    """The text of a response's messages."""
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "\n".join(part["text"] for item in messages for part in item["content"])


def error(answer: httpx2.Response) -> tuple[Any, ...]:
    """Status, code and parameter of a refusal."""
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return answer.status_code, body["code"], body["param"]


async def approval(api: Served, **more: Any) -> tuple[Json, Json]:
    """A turn that ends with a request for approval, and that request."""
    response = await api.ask("refund a lamp", **more)
    [request] = response["output"]
    assert (response["status"], request["type"]) == ("completed", "mcp_approval_request")
    return response, request


def answer_to(request: Json, approve: bool) -> list[Json]:
    id = request["id"]
    return [{"type": "mcp_approval_response", "approval_request_id": id, "approve": approve}]


async def chunks(api: Served, **body: Any) -> list[Any]:
    """The chunks of a streamed chat completion."""
    answer = await api.post("/chat/completions", {"model": "shop", "stream": True, **body})
    assert answer.status_code == 200, answer.text
    *blocks, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(block.removeprefix("data: ")) for block in blocks]
