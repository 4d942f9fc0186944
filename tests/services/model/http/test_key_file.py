"""A key in a file: which key a request has when the file or the server's key changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.secret_files import write
from tests.services.model.builders import RecordingListener
from tests.services.model.http.proxy_server import ProxyServer
from tests.services.model.mock_server import Behaviour, Call, MockServer, refuses, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold import Settings, open_services
from twelvefold.boot import request_model_list
from twelvefold.core.ports import ModelReply, ModelRequest
from twelvefold.errors import ModelUnavailable, SettingsError

REQUEST = ModelRequest("", ({"type": "message", "role": "user", "content": "Hi"},))
OLD, NEW = "sk-old-key-1", "sk-new-key-2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{OLD}\n")
    return path


def accepts(key: str, on_refusal: Callable[[], object] = lambda: None) -> Behaviour:
    """Reply to requests with this key; refuse others with 401, with their key in the text."""

    async def behave(call: Call) -> None:
        if call.headers["authorization"] == f"Bearer {key}":
            await streams(responses_events(FakeReply("Hi")))(call)
            return
        on_refusal()
        text = f"Incorrect API key provided: {call.headers['authorization']}"
        await refuses(401, {"message": text})(call)

    return behave


def settings_with(server: MockServer, file: Path, **more: str) -> Settings:
    environ = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY_FILE": str(file), **more}
    return Settings.from_environ({"DATABASE_URL": "sqlite:///a.db", **environ})


async def replies_of(settings: Settings, count: int = 1) -> list[ModelReply]:
    async with open_services(settings) as services:
        asked = [services.model.reply(REQUEST, RecordingListener()) for _ in range(count)]
        return await asyncio.gather(*asked)


def keys_of(server: MockServer) -> list[str]:
    return [call.headers["authorization"].removeprefix("Bearer ") for call in server.calls]


async def test_requests_have_the_key_that_is_in_the_file(server: MockServer, file: Path) -> None:
    server.will(streams(responses_events(FakeReply("Hi"))))

    async with open_services(settings_with(server, file)) as services:
        await services.model.reply(REQUEST, RecordingListener())
        write(file, NEW)
        await services.model.reply(REQUEST, RecordingListener())

    assert keys_of(server) == [OLD, NEW]
    assert server.connections == 1


async def test_a_request_whose_key_is_refused_is_sent_once_more_with_the_new_one(
    server: MockServer, file: Path
) -> None:
    server.will(accepts(NEW, on_refusal=lambda: write(file, NEW)))

    (reply,) = await replies_of(settings_with(server, file))

    assert reply.items
    assert keys_of(server) == [OLD, NEW]


async def test_many_requests_whose_key_is_refused_succeed_with_the_new_one(
    server: MockServer, file: Path
) -> None:
    server.will(accepts(NEW, on_refusal=lambda: write(file, NEW)))

    replies = await replies_of(settings_with(server, file), count=10)

    assert [bool(reply.items) for reply in replies] == [True] * 10


async def test_a_key_that_is_still_in_the_file_is_sent_once_and_is_in_no_error(
    server: MockServer, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.will(accepts(NEW))

    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY is refused by") as refused:
        await replies_of(settings_with(server, file))

    assert keys_of(server) == [OLD]
    assert OLD not in f"{refused.value}{refused.value.log_text}{caplog.text}"


async def test_neither_the_old_nor_the_new_key_is_in_an_error(
    server: MockServer, file: Path
) -> None:
    server.will(accepts("another", on_refusal=lambda: write(file, NEW)))

    with pytest.raises(ModelUnavailable) as refused:
        await replies_of(settings_with(server, file))

    assert keys_of(server) == [OLD, NEW]
    assert OLD not in str(refused.value)
    assert NEW not in str(refused.value)


async def test_a_refusal_of_the_content_is_not_sent_again(server: MockServer, file: Path) -> None:
    server.will(refuses(403, {"message": "content policy"}))

    with pytest.raises(Exception, match="content policy"):
        await replies_of(settings_with(server, file))

    assert len(server.calls) == 1


async def test_the_key_is_renewed_through_a_proxy(server: MockServer, file: Path) -> None:
    server.will(accepts(NEW, on_refusal=lambda: write(file, NEW)))

    async with ProxyServer(server.port) as proxy:
        settings = settings_with(
            server, file, HTTP_PROXY=proxy.url, OPENAI_BASE_URL="http://model.example/v1"
        )
        (reply,) = await replies_of(settings)

    assert reply.items
    assert keys_of(server) == [OLD, NEW]


async def test_the_list_of_models_is_requested_with_the_new_key(
    server: MockServer, file: Path
) -> None:
    async def listed(call: Call) -> None:
        is_new = call.headers["authorization"] == f"Bearer {NEW}"
        write(file, NEW)
        await call.head(200 if is_new else 401, {"content-length": "2"})
        await call.raw_bytes(b"{}")

    server.will(listed)

    found = await request_model_list(settings_with(server, file), 5.0)

    assert (found.status, keys_of(server)) == (200, [OLD, NEW])


async def test_a_named_model_has_a_file_of_its_own(server: MockServer, file: Path) -> None:
    server.will(streams(responses_events(FakeReply("Hi"))))
    models = f'{{"fast": {{"url": "{server.url}", "model": "m", "key_file": "{file}"}}}}'
    settings = Settings.from_environ({"DATABASE_URL": "sqlite:///a.db", "MODELS": models})

    async with open_services(settings) as services:
        await services.models["fast"].reply(REQUEST, RecordingListener())

    assert keys_of(server) == [OLD]


async def test_files_without_a_key_are_reported_together_at_the_start(
    server: MockServer, file: Path, tmp_path: Path
) -> None:
    write(file, "sk-1 sk-2")
    models = '{"fast": {"url": "http://h/v1", "model": "m", "key_file": "/missing"}}'

    with pytest.raises(SettingsError) as raised:
        async with open_services(settings_with(server, file, MODELS=models)):
            pass

    assert raised.value.problems == (
        f"OPENAI_API_KEY_FILE: {file}: it has a character that is invalid in an HTTP header",
        "MODELS: fast: key_file: /missing: cannot be read: No such file or directory",
    )
