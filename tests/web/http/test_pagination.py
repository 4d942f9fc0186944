"""The list parameters `limit`, `order`, `after` and `before` on every list."""

from typing import Any

import pytest

from tests.web.asking import error
from tests.web.serving import Json, Served


async def lists(api: Served) -> dict[str, str]:
    """Return the path of each list; each has at least two elements, except the models."""
    first = await api.ask("buy a lamp")
    await api.ask("buy a chair")
    conversation = (await api.post("/conversations", {"items": MESSAGES})).json()["id"]
    await api.ask("buy a lamp", conversation=conversation)
    return {
        "models": "/models",
        "conversations": "/conversations",
        "items": f"/conversations/{conversation}/items",
        "journal": f"/conversations/{conversation}/journal",
        "input_items": f"/responses/{first['id']}/input_items",
    }


MESSAGES = [{"role": "user", "content": text} for text in ("one", "two", "three")]


def keys(page: Json) -> list[Any]:
    return [one.get("id", one.get("position")) for one in page["data"]]


async def test_every_list_applies_or_rejects_an_order(api: Served) -> None:
    for name, path in (await lists(api)).items():
        asc, desc = [await api.get(path, order=order) for order in ("asc", "desc")]
        refused = [one for one in (asc, desc) if one.status_code == 400]

        assert refused or keys(asc.json()) == keys(desc.json())[::-1], name
        for answer in refused:
            assert error(answer)[2] == "order"
        assert error(await api.get(path, order="sideways"))[0::2] == (400, "order"), name


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("before", "x"), ("limit", "0"), ("limit", "x"), ("limit", "-1"), ("limit", "")],
)
async def test_an_unsupported_parameter_is_400(api: Served, parameter: str, value: str) -> None:
    for name, path in (await lists(api)).items():
        answer = await api.get(path, **{parameter: value})

        assert error(answer)[0::2] == (400, parameter), name


@pytest.mark.parametrize("parameter", ["limit", "order", "after"])
async def test_a_repeated_parameter_is_400(api: Served, parameter: str) -> None:
    for name, path in (await lists(api)).items():
        answer = await api.http.get(f"/v1{path}?{parameter}=1&{parameter}=2")

        assert error(answer)[0::2] == (400, parameter), name


async def test_unknown_parameters_are_ignored(api: Served) -> None:
    for path in (await lists(api)).values():
        answer = await api.get(path, include="message.output_text.logprobs")

        assert answer.status_code == 200


async def test_a_repeated_flag_or_integer_is_400(api: Served) -> None:
    response = await api.ask("hello")

    for query in ("stream=true&stream=false", "starting_after=1&starting_after=2"):
        answer = await api.http.get(f"/v1/responses/{response['id']}?{query}")
        assert error(answer)[0::2] == (400, query.partition("=")[0])
