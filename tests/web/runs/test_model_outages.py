"""A model's server that fails: a waiting client gets the reason, whatever workers do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from tests.services.model.builders import fast_settings
from tests.services.model.mock_server import Behaviour, Call, MockServer, drops, refuses
from tests.web.serving import Json, Serve, Served
from twelvefold.services.model.openai import OpenAIModel

HI = [{"role": "user", "content": "hi"}]
SILENT: dict[str, Any] = {"first_token_timeout_s": 0.1, "max_attempts": 2}


async def never_answers(call: Call) -> None:
    await asyncio.Event().wait()


@contextmanager
def refusing_url() -> Iterator[str]:
    """The URL of a port that refuses connections, and that no other process can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


MODEL_404: Json = {"message": "no such model", "code": "model_not_found"}
FAILURES: dict[str, tuple[Behaviour, dict[str, Any], str]] = {
    "wrong key": (refuses(401), {}, "OPENAI_API_KEY is refused"),
    "forbidden": (refuses(403), {}, "OPENAI_API_KEY is refused"),
    "no such model": (refuses(404, MODEL_404), {}, "has no 'gpt-test'"),
    "server error": (refuses(503), {}, "no reply from"),
    "dropped": (drops(), {}, "no reply from"),
    "silent": (never_answers, SILENT, "no reply from"),
}


@pytest.fixture
async def upstream() -> AsyncIterator[MockServer]:
    async with MockServer() as server:
        yield server


Reach = Callable[..., OpenAIModel]


@pytest.fixture
async def reach() -> AsyncIterator[Reach]:
    """A model at a URL, for one process."""
    async with AsyncExitStack() as stack:

        def made(url: str, **settings: Any) -> OpenAIModel:
            model = OpenAIModel(fast_settings(url, **settings))
            stack.push_async_callback(model.close)
            return model

        yield made


async def whole(api: Served) -> str:
    response = await api.ask("hi")
    assert response["status"] == "failed"
    return str(response["error"]["message"])


async def streamed(api: Served) -> str:
    events = await api.told("hi")
    assert events[-1]["type"] == "response.failed"
    return str(events[-1]["response"]["error"]["message"])


async def chat(api: Served) -> str:
    answer = await api.post("/chat/completions", {"model": "shop", "messages": HI})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    return str(answer.json()["error"]["message"])


async def chat_streamed(api: Served) -> str:
    body = {"model": "shop", "messages": HI, "stream": True}
    answer = await api.post("/chat/completions", body)
    *_, error, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return error


KINDS: list[Callable[[Served], Awaitable[str]]] = [whole, streamed, chat, chat_streamed]


async def failed_requests(serve: Serve, model: Callable[[], OpenAIModel]) -> list[str]:
    """The errors of three foreground requests of each kind, with workers in two processes."""
    await serve(model=model())
    api = await serve(model=model())
    return await asyncio.gather(*(kind(api) for kind in KINDS * 3))


@pytest.mark.parametrize("failure", FAILURES)
async def test_foreground_requests_fail_with_the_reason(
    reach: Reach, serve: Serve, upstream: MockServer, failure: str
) -> None:
    behaviour, settings, reason = FAILURES[failure]
    upstream.will(behaviour)
    url = upstream.url

    said = await failed_requests(serve, lambda: reach(url, **settings))

    assert [reason in one for one in said] == [True] * 12, said


@pytest.mark.parametrize("url", ["", "http://model.invalid/v1"], ids=["refused", "unresolved"])
async def test_foreground_requests_fail_where_no_server_is(
    reach: Reach, serve: Serve, url: str
) -> None:
    with refusing_url() as refusing:
        said = await failed_requests(serve, lambda: reach(url or refusing))

    assert ["cannot reach" in one for one in said] == [True] * 12, said


async def test_a_failed_request_stays_failed_when_it_is_sent_again(
    reach: Reach, serve: Serve, upstream: MockServer
) -> None:
    upstream.will(refuses(401))
    api = await serve(model=reach(upstream.url))
    body, key = {"model": "shop", "input": "hi"}, {"idempotency-key": "one"}

    first = (await api.post("/responses", body, headers=key)).json()
    again = (await api.post("/responses", body, headers=key)).json()

    assert first["status"] == "failed"
    assert again == first


async def test_background_runs_are_retried_by_workers(
    reach: Reach, serve: Serve, upstream: MockServer
) -> None:
    upstream.will(refuses(401))
    api = await serve(model=reach(upstream.url))

    response = await api.ask("hi", background=True)
    while len(upstream.calls) < 2:
        await asyncio.sleep(0.01)

    status = (await api.get(f"/responses/{response['id']}")).json()["status"]
    assert status in ("queued", "in_progress")
