"""How the server's tool calls are shown: as the request chooses, else as the settings do."""

import pytest

from tests.web.asking import answer_to, approval, error
from tests.web.serving import Json, Serve, Served, events

HEADER = "Twelvefold-Tool-Items"
SHOWN: dict[str, list[str]] = {
    "mcp_call": ["mcp_call", "message"],
    "function": ["function_call", "function_call_output", "message"],
    "hidden": ["message"],
}
every = pytest.mark.parametrize("wanted", list(SHOWN))
settings = pytest.mark.parametrize("setting", list(SHOWN))


def types(response: Json) -> list[str]:
    return [item["type"] for item in response["output"]]


async def bought(api: Served, wanted: str, **more: object) -> Json:
    body = {"model": "shop", "input": "buy a lamp", **more}
    answer = await api.post("/responses", body, headers={HEADER: wanted})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@every
@settings
async def test_a_request_chooses_how_the_servers_calls_are_shown(
    serve: Serve, setting: str, wanted: str
) -> None:
    api = await serve(tool_items=setting)

    assert types(await bought(api, wanted)) == SHOWN[wanted]
    assert types(await api.ask("buy a lamp")) == SHOWN[setting]


@every
async def test_a_stream_shows_calls_as_the_request_chooses(serve: Serve, wanted: str) -> None:
    api = await serve()
    body = {"model": "shop", "input": "buy a lamp", "stream": True}
    how = {"json": body, "headers": {HEADER.lower(): wanted}}

    streamed = await events(api.http, "POST", "/v1/responses", **how)

    added = [one["item"]["type"] for one in streamed if one["type"] == "response.output_item.added"]
    assert added == SHOWN[wanted] == types(streamed[-1]["response"])
    assert await api.replayed(streamed[-1]["response"]["id"]) == streamed


@every
async def test_a_response_is_read_as_its_request_has_chosen(serve: Serve, wanted: str) -> None:
    api, other = await serve(), await serve(tool_items="mcp_call")
    made = await bought(api, wanted)

    again = (await other.get(f"/responses/{made['id']}")).json()

    assert again == made


@every
async def test_a_background_response_is_read_as_its_request_has_chosen(
    api: Served, wanted: str
) -> None:
    made = await bought(api, wanted, background=True)

    assert types(await api.settled(made["id"])) == SHOWN[wanted]


@every
async def test_a_later_reader_may_choose_otherwise(api: Served, wanted: str) -> None:
    made = await bought(api, "hidden")
    headers = {HEADER: wanted}

    whole = await api.http.get(f"/v1/responses/{made['id']}", headers=headers)
    streamed = await events(
        *(api.http, "GET", f"/v1/responses/{made['id']}"),
        params={"stream": "true"},
        headers=headers,
    )

    assert types(whole.json()) == SHOWN[wanted]
    assert types(streamed[-1]["response"]) == SHOWN[wanted]


@every
async def test_a_reader_of_items_chooses_how_calls_are_shown(api: Served, wanted: str) -> None:
    conversation = (await api.post("/conversations")).json()["id"]
    await bought(api, "function", conversation=conversation)
    items = f"/v1/conversations/{conversation}/items?order=asc"

    as_made = (await api.http.get(items)).json()["data"]
    as_wanted = (await api.http.get(items, headers={HEADER: wanted})).json()["data"]

    assert [item["type"] for item in as_made[1:]] == SHOWN["function"]
    assert [item["type"] for item in as_wanted[1:]] == SHOWN[wanted]


async def test_an_item_is_found_by_the_id_under_which_it_was_shown(api: Served) -> None:
    made = await bought(api, "function")
    references = [{"type": "item_reference", "id": item["id"]} for item in made["output"]]

    await api.ask([*references, {"role": "user", "content": "and now?"}])

    sent = [item["type"] for item in api.model.requests[-1].items]
    assert sent == [*SHOWN["function"], "message"]


@every
async def test_the_answer_to_an_approval_chooses_for_the_next_response(
    api: Served, wanted: str
) -> None:
    _, request = await approval(api)
    body = {"model": "shop", "input": answer_to(request, True)}

    answer = await api.post("/responses", body, headers={HEADER: wanted})
    again = await api.get(f"/responses/{answer.json()['id']}")

    assert types(answer.json()) == SHOWN[wanted]
    assert again.json() == answer.json()


async def test_the_scope_to_approve_is_enough_to_choose_how_calls_are_shown(api: Served) -> None:
    from twelvefold.web.schemas.answer_options import changed_options
    from twelvefold.web.schemas.turns import parse_turn

    workflows = api.web.services.workflows
    body = {"model": "shop", "input": "hi"}

    assert not changed_options(parse_turn(body, {HEADER.lower(): "hidden"}, workflows))


@pytest.mark.parametrize("wanted", ["none", "MCP_CALL", "mcp_call, function"])
async def test_an_unknown_choice_is_rejected(api: Served, wanted: str) -> None:
    made = await bought(api, "hidden")
    headers = {HEADER: wanted}
    body = {"model": "shop", "input": "buy a lamp"}

    answers = [
        await api.post("/responses", body, headers=headers),
        await api.post("/responses", body | {"stream": True}, headers=headers),
        await api.http.get(f"/v1/responses/{made['id']}", headers=headers),
    ]

    assert [error(one) for one in answers] == [(400, "invalid_value", HEADER)] * 3
    assert len(api.model.requests) == 2
