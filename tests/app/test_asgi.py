"""The service inside another ASGI app and on a server of the user's choice."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, AuthenticationError

from tests.app.mounting import carrier, serving
from tests.app.shop import BUY, REFUND, Blocking, scripted, shop, shop_settings
from twelvefold import App
from twelvefold.core import SCOPES, Model
from twelvefold.engine.keys import create_key
from twelvefold.errors import AppClosed, SettingsError
from twelvefold.services.model.scripted import says
from twelvefold.web.mounted import at_root

CLIENTS = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "2001:db8::1")


def make_app(directory: Path, model: Model, **changes: Any) -> App:
    return App([shop], settings=replace(shop_settings(directory), **changes), model=model)


def client_of(url: str, key: str = "unused") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.mark.parametrize("path", ["/agents", "/v1", "/a/b"])
async def test_the_api_is_served_below_a_path(tmp_path: Path, path: str) -> None:
    app = make_app(tmp_path, scripted(BUY, says("Bread is bought.")))

    async with serving(carrier(app, path)) as url, client_of(f"{url}{path}") as client:
        response = await client.responses.create(model="shop", input="bread")
        run = await app.get(response.id)
        home = await get(url, "/")

    assert response.output_text == "Bread is bought."
    assert (run.text, run.principal) == ("Bread is bought.", "local")
    assert home.text == "home"


async def test_a_response_is_streamed(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted(says("Hello.")))

    async with serving(carrier(app)) as url, client_of(f"{url}/agents") as client:
        stream = await client.responses.create(model="shop", input="hi", stream=True)
        types = [event.type async for event in stream]

    assert types[-1] == "response.completed"


async def test_a_background_response_is_driven_by_the_worker_of_the_process(
    tmp_path: Path,
) -> None:
    app = make_app(tmp_path, scripted(says("Hello.")))

    async with serving(carrier(app)) as url, client_of(f"{url}/agents") as client:
        queued = await client.responses.create(model="shop", input="hi", background=True)
        while (run := await app.get(queued.id)).status != "completed":
            await asyncio.sleep(0.02)

    assert run.text == "Hello."


async def test_the_page_and_its_files_are_below_the_path(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted())

    async with serving(carrier(app)) as url:
        redirected = await get(url, "/agents")
        page = await get(url, "/agents/")
        operations = await get(url, "/agents/operations")
        script = await get(url, "/agents/static/main.js")
        health = await get(url, "/agents/healthz")

    assert redirected.headers["location"].endswith("/agents/")
    assert "static/main.js" in page.text
    assert "static/operations/main.js" in operations.text
    assert '"/static' not in page.text + operations.text
    assert script.status_code == 200
    assert health.json() == {"status": "ok"}


async def test_an_api_key_is_required_once_there_is_one(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted(says("Hello.")))

    async with app:
        key, _ = await create_key(app.session.services.store, "ann's", "ann", SCOPES)
    async with serving(carrier(app)) as url:
        async with client_of(f"{url}/agents") as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.responses.create(model="shop", input="hi")
        async with client_of(f"{url}/agents", key) as ann:
            response = await ann.responses.create(model="shop", input="hi")
        run = await app.get(response.id, principal="ann")

    assert run.text == "Hello."


async def test_without_a_key_only_this_machine_is_served(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted())
    service = app.asgi()

    async with app:
        statuses = [await request(service, "/v1/models", client=one) for one in CLIENTS]

    assert statuses == [200, 200, 200, 403, 403]


async def test_an_open_api_that_others_could_reach_is_an_error_at_the_start(
    tmp_path: Path,
) -> None:
    app = make_app(tmp_path, scripted(), host="0.0.0.0")  # noqa: S104 - it is refused
    app.asgi()

    with pytest.raises(SettingsError, match="HOST"):
        await app.open()
    with pytest.raises(AppClosed):
        await app.get("resp_1")


async def test_a_server_opens_and_closes_an_app_that_is_served_alone(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted(says("Hello.")))

    async with serving(app.asgi()) as url, client_of(url) as client:
        response = await client.responses.create(model="shop", input="hi")

    assert response.output_text == "Hello."
    with pytest.raises(AppClosed):
        await app.get(response.id)


async def test_the_lifespan_of_an_open_app_leaves_it_open(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted(says("Hello.")))

    async with app:
        async with serving(app.asgi()) as url, client_of(url) as client:
            response = await client.responses.create(model="shop", input="hi")
        assert (await app.get(response.id)).text == "Hello."


async def test_a_failed_start_is_reported_to_the_server(tmp_path: Path) -> None:
    app = make_app(tmp_path / "missing", scripted())
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    with pytest.raises(SettingsError):
        await app.asgi()({"type": "lifespan"}, receive, send)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "does not exist" in sent[0]["message"]


async def test_a_request_to_an_app_that_is_not_open_raises(tmp_path: Path) -> None:
    service = make_app(tmp_path, scripted()).asgi()

    with pytest.raises(AppClosed, match="not open"):
        await request(service, "/healthz")


async def test_closing_the_app_ends_its_streams_and_gives_the_runs_back(tmp_path: Path) -> None:
    model = Blocking()
    app = make_app(tmp_path, model, grace_s=0.2)
    async with serving(carrier(app)) as url, client_of(f"{url}/agents") as client:
        stream = await client.responses.create(model="shop", input="hi", stream=True)
        events = [await anext(aiter(stream))]
        await app.close()
        events += [event async for event in stream]
        await app.open()
        run = await app.get(events[0].response.id)  # type: ignore[union-attr]

    assert events[-1].type != "response.completed"
    assert run.status == "queued"


async def test_a_run_that_waits_is_approved_over_http(tmp_path: Path) -> None:
    app = make_app(tmp_path, scripted(REFUND, says("Refunded.")))

    async with serving(carrier(app)) as url, client_of(f"{url}/agents") as client:
        waiting = await app.run(shop, "refund it")
        page = await client.responses.retrieve(waiting.id)
        (item,) = [one for one in page.output if one.type == "mcp_approval_request"]
        answer = {"type": "mcp_approval_response", "approval_request_id": item.id, "approve": True}
        response = await client.responses.create(
            model="shop",
            input=[answer],  # type: ignore[list-item]
            previous_response_id=waiting.id,
        )

    assert response.output_text == "Refunded."


def test_a_path_is_made_relative_to_the_mount() -> None:
    for root, path, expected in (
        ("", "/v1/models", "/v1/models"),
        ("/agents", "/agents/v1/models", "/v1/models"),
        ("/agents", "/agents", "/"),
        ("/agents", "/v1/models", "/v1/models"),
        ("/agents", "/agents2/v1", "/agents2/v1"),
        ("/v1", "/v1/v1/models", "/v1/models"),
    ):
        scope = at_root({"type": "http", "root_path": root, "path": path, "state": {"mine": 1}})
        assert (scope["path"], scope["root_path"], scope["state"]) == (expected, "", {})


async def get(url: str, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=None) as client:
        return await client.get(f"{url}{path}")


async def request(service: Any, path: str, *, client: str = "127.0.0.1") -> int:
    """Send one GET request and return the status of its response."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"host", b"localhost")],
        "client": (client, 1),
        "server": ("127.0.0.1", 80),
    }
    await service(scope, receive, send)
    return statuses[0]
