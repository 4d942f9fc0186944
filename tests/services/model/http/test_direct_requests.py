"""Direct connections: what is sent."""

from base64 import b64encode

import pytest

from tests.services.model.http.direct_client import Client, serving
from tests.services.model.http.raw_server import (
    sends,
    whole,
)
from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.http import Endpoint


async def test_the_request_has_these_lines() -> None:
    async with serving(sends(whole(b""))) as (server, client):
        await client.reply(b"{}", hops="1")
        async with client.request("GET", "/models", None, {"accept": "application/json"}):
            pass
        host = f"host: 127.0.0.1:{server.port}"

    assert [head.decode().split("\r\n") for head in server.requests] == [
        [
            "POST /v1/responses HTTP/1.1",
            host,
            "accept: text/event-stream",
            "accept-encoding: identity",
            "content-type: application/json",
            "user-agent: twelvefold",
            "authorization: Bearer key",
            "hops: 1",
            "content-length: 2",
            "",
            "",
        ],
        [
            "GET /v1/models HTTP/1.1",
            host,
            "accept: application/json",
            "accept-encoding: identity",
            "content-type: application/json",
            "user-agent: twelvefold",
            "authorization: Bearer key",
            "",
            "",
        ],
    ]


@pytest.mark.parametrize(
    ("base", "target"),
    [
        ("/v1", "/v1/responses"),
        ("", "/responses"),
        ("/a b/ü", "/a%20b/%C3%BC/responses"),
        ("/a%20b%2Fc", "/a%20b%2Fc/responses"),
        ("/v1?key=a b&x=[1]", "/v1/responses?key=a%20b&x=[1]"),
        ("/v1#fragment", "/v1/responses"),
    ],
)
async def test_the_target_is_encoded_once(base: str, target: str) -> None:
    async with serving(sends(whole(b""))) as (server, _):
        url = server.url.removesuffix("/v1") + base
        client = Client(Endpoint(url), connect_timeout_s=5)
        await client.reply()
        await client.close()

    assert server.requests[0].startswith(f"POST {target} HTTP/1.1\r\n".encode())


async def test_a_user_in_the_url_is_sent_as_a_header() -> None:
    async with serving(sends(whole(b""))) as (server, _):
        url = server.url.replace("://", "://ann:hid%40den@")
        for key in ("", "key"):
            client = Client(Endpoint(url, key), connect_timeout_s=5)
            await client.reply()
            await client.close()

    basic = b64encode(b"ann:hid@den")
    assert b"\r\nauthorization: Basic " + basic + b"\r\n" in server.requests[0]
    assert b"\r\nauthorization: Bearer key\r\n" in server.requests[1]
    assert b"ann" not in server.requests[1]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\udc80"])
@pytest.mark.parametrize("place", ["key", "name", "value"])
async def test_a_header_cannot_contain_another_one(place: str, value: str) -> None:
    headers = {"name": {value: "x"}, "value": {"x-name": value}, "key": {}}[place]
    endpoint = Endpoint("http://127.0.0.1:1/v1", value if place == "key" else "", headers)

    with pytest.raises(ModelUnavailable, match="has invalid characters"):
        await Client(endpoint, connect_timeout_s=5).reply()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:port/v1", "http://127.0.0.1:99999/v1", f"http://{'a' * 64}.com/v1"]
)
async def test_an_invalid_host_or_port_is_reported(url: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"OPENAI_BASE_URL .* has invalid characters"):
        await Client(Endpoint(url), connect_timeout_s=5).reply()
