"""Images and files are sent to the model unchanged, or refused with their parameter."""

import json
from typing import Any

import pytest

from tests.attachments import PDF, PNG, file, image, message, png_of
from tests.engine.stage import Stage
from tests.web.asking import error
from tests.web.sdk import check_items
from tests.web.serving import USAGE, Rules, Serve, Served
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.services.model.demo import rules


class Demo(Rules):
    """The demo model, with the requests that it was sent."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        self.requests.append(request)
        items = rules.reply({"input": list(request.items)})
        return ModelReply(tuple(items), USAGE, "demo", "ab" * 32)


TEXT = {"type": "input_text", "text": "What is this?"}
IMAGE, FILE = image(detail="low"), file()
CHAT_IMAGE = {"type": "image_url", "image_url": {"url": PNG}}
CHAT_FILE = {"type": "file", "file": {"filename": "bill.pdf", "file_data": PDF}}
CHAT_LOOK: Any = [{"role": "user", "content": [CHAT_IMAGE, CHAT_FILE]}]
CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": [IMAGE]}
LOOK = {"role": "user", "content": [TEXT, IMAGE, FILE]}
NOTHING: frozenset[str] = frozenset()
CHAT_API = frozenset({"image", "file"})


async def test_images_and_files_are_sent_as_they_are(serve: Serve) -> None:
    api = await serve(model=Demo())

    response: Any = await api.sdk.responses.create(model="shop", input=[LOOK])  # type: ignore[list-item]
    chat = await api.sdk.chat.completions.create(model="shop", messages=CHAT_LOOK)

    assert "cannot see" in response.output_text
    assert "cannot see" in (chat.choices[0].message.content or "")
    ours, theirs = (request.items[0]["content"] for request in api.model.requests)
    assert ours == LOOK["content"]
    assert theirs == [image(), FILE]
    listed = (await api.get(f"/responses/{response.id}/input_items")).json()["data"]
    check_items(listed)
    assert listed[0]["content"] == LOOK["content"]


async def test_the_demo_model_says_that_it_cannot_read_a_file(serve: Serve) -> None:
    api = await serve(model=Demo())

    response = await api.ask([message(FILE)])

    assert "cannot read files" in response["output"][-1]["content"][0]["text"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/responses", {"model": "shop", "input": [LOOK]}, "input[0].content[1].type"),
        (
            "/responses",
            {"model": "shop", "input": [LOOK], "stream": True},
            "input[0].content[1].type",
        ),
        ("/responses", {"model": "shop", "input": [CALL, RESULT]}, "input[1].output[0].type"),
        ("/responses", {"model": "shop", "input": [message(FILE)]}, "input[0].content[0].type"),
        ("/conversations", {"items": [LOOK]}, "items[0].content[1].type"),
        (
            "/chat/completions",
            {"model": "shop", "messages": CHAT_LOOK},
            "messages[0].content[0].type",
        ),
    ],
)
async def test_a_model_that_takes_text_alone_is_sent_none(
    serve: Serve, stage: Stage, path: str, body: dict[str, Any], param: str
) -> None:
    api = await serve(accepts=NOTHING)

    refused = await api.post(path, body)

    assert error(refused) == (400, "unsupported_value", param)
    assert "OPENAI_ACCEPTS" in refused.json()["error"]["message"]
    assert api.model.requests == []
    assert (await api.get("/conversations")).json()["data"] == []


async def test_a_model_that_takes_text_alone_is_sent_none_by_reference(serve: Serve) -> None:
    demo, real = await serve(), await serve(accepts=NOTHING)
    conversation = (await demo.post("/conversations", {"items": [LOOK]})).json()["id"]
    [item] = (await demo.get(f"/conversations/{conversation}/items")).json()["data"]
    reference = {"type": "item_reference", "id": item["id"]}

    refused = await real.post("/responses", {"model": "shop", "input": [reference]})
    added = await real.post(f"/conversations/{conversation}/items", {"items": [LOOK]})

    assert error(refused) == (400, "unsupported_value", "input[0].content[1].type")
    assert error(added) == (400, "unsupported_value", "items[0].content[1].type")


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ([CALL, RESULT], "input[1].output[0].type"),
        ([message(IMAGE, role="developer")], "input[0].content[0].type"),
        (
            [message({"type": "input_file", "file_url": "https://example.org/a.pdf"})],
            "input[0].content[0].type",
        ),
    ],
)
async def test_chat_completions_takes_parts_of_user_messages_alone(
    serve: Serve, item: list[Any], param: str
) -> None:
    chat, responses = await serve(accepts=CHAT_API), await serve()

    refused = await chat.post("/responses", {"model": "shop", "input": item})
    taken = await responses.post("/responses", {"model": "shop", "input": item})

    assert error(refused) == (400, "unsupported_value", param)
    assert "Chat Completions" in refused.json()["error"]["message"]
    assert taken.status_code == 200


async def test_a_conversation_with_an_image_is_continued_by_models_that_take_it(
    serve: Serve,
) -> None:
    demo, real = await serve(), await serve(accepts=NOTHING)
    first = await demo.ask([LOOK])
    conversation = (await demo.post("/conversations", {"items": [LOOK]})).json()["id"]

    after = {"model": "shop", "input": "and?", "previous_response_id": first["id"]}
    within = {"model": "shop", "input": "and?", "conversation": conversation}
    refusals = [await real.post("/responses", body) for body in (after, within)]

    assert [error(one) for one in refusals] == [
        (400, "unsupported_value", "previous_response_id"),
        (400, "unsupported_value", "conversation"),
    ]
    assert "an earlier turn of the conversation" in refusals[0].json()["error"]["message"]
    assert real.model.requests == []
    assert (await demo.ask("and?", previous_response_id=first["id"]))["status"] == "completed"
    sent = demo.model.requests[-1].items[0]["content"]
    assert sent == LOOK["content"]


async def test_an_image_that_was_removed_is_not_in_the_way(serve: Serve) -> None:
    demo, real = await serve(), await serve(accepts=NOTHING)
    conversation = (await demo.post("/conversations", {"items": [LOOK]})).json()["id"]
    [item] = (await demo.get(f"/conversations/{conversation}/items")).json()["data"]

    await real.http.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
    response = await real.ask("and?", conversation=conversation)

    assert response["status"] == "completed"


@pytest.mark.parametrize(
    ("parts", "code", "param", "limit"),
    [
        ([image(png_of(3_000_003))], "input_too_large", "input[0].content[0].image_url", "3000000"),
        ([image(png_of(1_700_000))] * 2, None, None, "4194304"),
    ],
)
async def test_the_error_names_the_limit(
    serve: Serve, parts: list[Any], code: str | None, param: str | None, limit: str
) -> None:
    api = await serve(max_body_bytes=1 << 24)

    refused = await api.post("/responses", {"model": "shop", "input": [message(*parts)]})

    assert error(refused) == (400, code, param)
    assert limit in refused.json()["error"]["message"]
    assert len(refused.text) < 1_000
    assert api.model.requests == []
    assert (await api.get("/conversations")).json()["data"] == []


async def test_an_image_is_stored_once(serve: Serve, stage: Stage) -> None:
    api = await serve()
    conversation = (await api.post("/conversations")).json()["id"]
    await api.ask([message({**TEXT, "text": "buy a lamp"}, IMAGE)], conversation=conversation)
    await api.ask("thanks", conversation=conversation)
    fork = await api.post(f"/conversations/{conversation}/fork", {"position": 3})
    await api.ask("and?", conversation=fork.json()["id"])

    async with stage._store.read() as db:
        rows = await db.fetch_all("select body from events")

    assert sum(PNG in str(row["body"]) for row in rows) == 1
    assert len(api.model.requests) > 2
    assert all(PNG in json.dumps(request.items) for request in api.model.requests)


# --- what callers see again -----------------------------------------------------------------------


async def _read_again(api: Served) -> list[Any]:
    """Return the content of a message as each endpoint shows it."""
    conversation = (await api.post("/conversations")).json()["id"]
    response = await api.ask([CALL, RESULT, LOOK], conversation=conversation)
    id = (await api.get(f"/conversations/{conversation}/items")).json()["data"][-1]["id"]
    paths = (f"/responses/{response['id']}/input_items", f"/conversations/{conversation}/items")
    lists = [(await api.get(path, order="asc")).json()["data"] for path in paths]
    for one in lists:
        check_items(one)
    assert id
    journal = (await api.get(f"/conversations/{conversation}/journal")).json()["data"]
    return [
        *(one["content"] for found in lists for one in found[2:3]),
        journal[0]["items"][2]["content"],
        *(one["output"] for found in lists for one in found[1:2]),
    ]


SHORT_IMAGE = {"type": "input_image", "detail": "low", "media_type": "image/png", "bytes": 70}
SHORT_FILE = {
    "type": "input_file",
    "filename": "bill.pdf",
    "media_type": "application/pdf",
    "bytes": 13,
}
SHORT = [TEXT, SHORT_IMAGE, SHORT_FILE]
BARE = [TEXT, {"type": "input_image", "detail": "low"}, {"type": "input_file"}]


@pytest.mark.parametrize(
    ("input_files", "items", "journal", "result"),
    [
        ("full", LOOK["content"], SHORT, IMAGE),
        ("summary", SHORT, SHORT, SHORT_IMAGE),
        ("none", BARE, BARE, BARE[1]),
    ],
)
async def test_a_setting_says_what_is_shown_again(
    serve: Serve, input_files: str, items: Any, journal: Any, result: Any
) -> None:
    api = await serve(input_files=input_files)

    assert await _read_again(api) == [items, items, journal, [result], [result]]
    # The model gets everything.
    assert api.model.requests[-1].items[-1]["content"] == LOOK["content"]


async def test_a_referenced_image_reaches_the_model_whatever_is_shown(serve: Serve) -> None:
    api = await serve(input_files="none")
    conversation = (await api.post("/conversations", {"items": [LOOK]})).json()["id"]
    [item] = (await api.get(f"/conversations/{conversation}/items")).json()["data"]

    await api.ask([{"type": "item_reference", "id": item["id"]}])

    assert api.model.requests[-1].items[0]["content"] == LOOK["content"]


async def test_no_log_line_has_the_data(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    api = await serve()
    with caplog.at_level("DEBUG"):
        queued = await api.ask([LOOK], background=True)
        await api.post("/responses", {"model": "shop", "input": [message(image(PNG + "*"))]})
        await api.settled(queued["id"])

    assert PNG[30:60] not in caplog.text
    assert PDF[30:] not in caplog.text


@pytest.mark.parametrize(
    ("accepts", "listed"), [(CHAT_API, ["image", "file"]), (NOTHING, []), ({"file"}, ["file"])]
)
async def test_a_model_lists_what_it_accepts(
    serve: Serve, accepts: frozenset[str], listed: list[str]
) -> None:
    api = await serve(accepts=frozenset(accepts))

    models = (await api.get("/models")).json()["data"]
    shop = (await api.get("/models/shop")).json()

    assert [model["accepts"] for model in models] == [listed]
    assert shop == models[0]
    assert (await api.sdk.models.retrieve("shop")).id == "shop"
