"""Ids of another principal are answered as unknown ones."""

import pytest

from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Json, Serve, Served
from tests.web.tenants import unused

Call = tuple[str, str, Json | None]
RESPONSES: list[Call] = [
    ("GET", "/responses/{id}", None),
    ("GET", "/responses/{id}?stream=true", None),
    ("DELETE", "/responses/{id}", None),
    ("POST", "/responses/{id}/cancel", {}),
    ("POST", "/responses/{id}/cancel?force=true", {}),
    ("GET", "/responses/{id}/input_items", None),
    ("POST", "/responses", {"model": "shop", "input": "x", "previous_response_id": "{id}"}),
]
HELLO = {"role": "user", "content": "x"}
CONVERSATIONS: list[Call] = [
    ("GET", "/conversations/{id}", None),
    ("POST", "/conversations/{id}", {"metadata": {}}),
    ("DELETE", "/conversations/{id}", None),
    ("GET", "/conversations/{id}/items", None),
    ("POST", "/conversations/{id}/items", {"items": [HELLO]}),
    ("GET", "/conversations/{id}/items/msg_1", None),
    ("DELETE", "/conversations/{id}/items/msg_1", None),
    ("GET", "/conversations/{id}/journal", None),
    ("POST", "/conversations/{id}/fork", {"position": 1}),
    ("POST", "/conversations/{id}/cancel", {}),
    ("POST", "/responses", {"model": "shop", "input": "x", "conversation": "{id}"}),
]
REFERENCE: list[Call] = [
    ("POST", "/responses", {"model": "shop", "input": [{"type": "item_reference", "id": "{id}"}]})
]


async def _two(serve: Serve) -> tuple[Served, Served]:
    """One process, with the keys of two principals."""
    ann = await serve(headers={"authorization": f"Bearer {TOKEN}"})
    bob = await serve(headers={"authorization": f"Bearer {OTHER}"})
    await ann.web.services.store.add_key(api_key())
    await ann.web.services.store.add_key(api_key(OTHER, "bob", "key-2"))
    return ann, bob


async def refused(api: Served, method: str, path: str, body: Json | None, id: str) -> Json:
    """The error for an id, without the id."""
    filled = None if body is None else _filled(body, id)
    answer = await api.http.request(method, f"/v1{path.format(id=id)}", json=filled)
    return {"status": answer.status_code, "body": answer.text.replace(id, "…")}


def _filled(value: object, id: str) -> object:
    if isinstance(value, dict):
        return {key: _filled(one, id) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, id) for one in value]
    return id if value == "{id}" else value


@pytest.mark.parametrize("later", [False, True])
async def test_another_principals_response_is_not_found(serve: Serve, later: bool) -> None:
    ann, bob = await _two(serve)
    id = (await ann.ask("hi"))["id"] + ("c1" if later else "")

    for request in RESPONSES:
        answer = await refused(bob, *request, id)

        assert answer["status"] in (400, 404)
        assert answer == await refused(bob, *request, unused(id))


async def test_another_principals_conversation_is_not_found(serve: Serve) -> None:
    ann, bob = await _two(serve)
    id = (await ann.post("/conversations", {"items": [HELLO]})).json()["id"]

    for request in CONVERSATIONS:
        answer = await refused(bob, *request, id)

        assert answer["status"] == 404
        assert answer == await refused(bob, *request, unused(id))


async def test_another_principals_item_is_not_found(serve: Serve) -> None:
    ann, bob = await _two(serve)
    id = (await ann.ask("hi"))["output"][0]["id"]

    for request in REFERENCE:
        answer = await refused(bob, *request, id)

        assert answer["status"] == 400
        assert answer == await refused(bob, *request, unused(id))


async def test_an_order_that_a_list_does_not_have_is_rejected(serve: Serve) -> None:
    api = await serve()

    answer = await api.get("/conversations", order="sideways")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "order")
