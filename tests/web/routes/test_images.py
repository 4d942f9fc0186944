"""Images are sent to the model unchanged, or rejected with their parameter."""

from typing import Any

import pytest

from tests.web.asking import error
from tests.web.serving import USAGE, Rules, Serve
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.demo import rules


class Demo(Rules):
    """The demo model, with the requests that it was sent."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests.append(request)
        items = rules.reply({"input": list(request.items)})
        return ModelReply(tuple(items), USAGE, "demo", "ab" * 32)


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "low"}
CHAT_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
CHAT_LOOK: Any = [{"role": "user", "content": [CHAT_IMAGE]}]
CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
REAL = "http://127.0.0.1:9/v1"
"""The URL of a model that is not the demo model."""
LOOK = {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, IMAGE]}


async def test_the_demo_model_is_sent_an_image_as_it_is(serve: Serve) -> None:
    api = await serve(model=Demo())

    response = await api.ask([LOOK])
    chat = await api.sdk.chat.completions.create(model="shop", messages=CHAT_LOOK)

    assert response["status"] == "completed"
    assert "cannot see" in response["output"][-1]["content"][0]["text"]
    assert "cannot see" in (chat.choices[0].message.content or "")
    sent = api.model.requests[0].items[0]["content"]
    assert sent == LOOK["content"]
    listed = (await api.get(f"/responses/{response['id']}/input_items")).json()["data"]
    assert listed[0]["content"] == LOOK["content"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/responses", {"model": "shop", "input": [LOOK]}, "input[0].content[1].type"),
        (
            "/responses",
            {"model": "shop", "input": [LOOK], "stream": True},
            "input[0].content[1].type",
        ),
        (
            "/responses",
            {
                "model": "shop",
                "input": [
                    CALL,
                    {"type": "function_call_output", "call_id": "c", "output": [IMAGE]},
                ],
            },
            "input[1].output[0].type",
        ),
        ("/conversations", {"items": [LOOK]}, "items[0].content[1].type"),
        (
            "/chat/completions",
            {"model": "shop", "messages": CHAT_LOOK},
            "messages[0].content[0].type",
        ),
    ],
)
async def test_a_real_model_is_sent_no_image(
    serve: Serve, path: str, body: dict[str, Any], param: str
) -> None:
    api = await serve(openai_base_url=REAL)

    refused = await api.post(path, body)

    assert error(refused) == (400, "unsupported_value", param)
    assert api.model.requests == []


async def test_a_real_model_is_sent_no_image_by_reference(serve: Serve) -> None:
    demo, real = await serve(), await serve(openai_base_url=REAL)
    conversation = (await demo.post("/conversations", {"items": [LOOK]})).json()["id"]
    [item] = (await demo.get(f"/conversations/{conversation}/items")).json()["data"]
    reference = {"type": "item_reference", "id": item["id"]}

    refused = await real.post("/responses", {"model": "shop", "input": [reference]})
    added = await real.post(f"/conversations/{conversation}/items", {"items": [LOOK]})

    assert error(refused) == (400, "unsupported_value", "input[0].content[1].type")
    assert error(added) == (400, "unsupported_value", "items[0].content[1].type")
