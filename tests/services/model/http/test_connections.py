"""Connections: proxies, certificates, and the query and headers of requests."""

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.services.model.builders import RecordingListener, fast_settings, model_request
from tests.services.model.http.certificates import Issued, issue
from tests.services.model.http.proxy_server import ProxyServer
from tests.services.model.mock_server import MockServer, answers, refuses, streams
from tests.services.model.streams import FakeReply, chat_events, responses_events
from twelvefold.core.ports import ModelReply
from twelvefold.errors import ModelUnavailable
from twelvefold.observe.trace_context import TRACEPARENT
from twelvefold.services.model import open_model
from twelvefold.services.model.http import NO_PROXIES, Endpoint, ModelList, Proxies, list_models
from twelvefold.services.model.items import message
from twelvefold.services.model.openai import Api, OpenAIModel

HI = streams(chat_events(FakeReply("Hi")))
EVENTS = {"responses": responses_events, "chat": chat_events}
MODELS = answers(200, b'{"data": [{"id": "m"}]}')
APIS = pytest.mark.parametrize("api", ["responses", "chat"])


async def reply_of(url: str, **settings: Any) -> ModelReply:
    model = OpenAIModel(fast_settings(url, **{"api": "chat", **settings}))
    try:
        return await model.reply(model_request(), RecordingListener())
    finally:
        await model.close()


async def connection_error(url: str, **settings: Any) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        await reply_of(url, **settings)
    return str(caught.value)


async def listed(url: str, proxies: Proxies = NO_PROXIES) -> ModelList:
    return await list_models(Endpoint(url, "sk-secret", proxies=proxies), timeout_s=5)


# Proxies


async def test_a_host_known_only_to_the_proxy_is_reached(server: MockServer) -> None:
    server.will(HI)
    async with ProxyServer(server.port) as proxy:
        proxies = Proxies(http=proxy.url)
        reply = await reply_of("http://models.internal/v1", proxies=proxies)
        server.will(MODELS)
        names = await listed("http://models.internal/v1", proxies)

    assert reply.items == (message("Hi"),)
    assert names == ModelList("http://models.internal/v1", 200, frozenset({"m"}))
    assert proxy.request_lines == [
        "POST http://models.internal/v1/chat/completions HTTP/1.1",
        "GET http://models.internal/v1/models HTTP/1.1",
    ]


async def test_a_host_in_no_proxy_is_reached_directly(server: MockServer) -> None:
    server.will(HI)
    async with ProxyServer(server.port) as proxy:
        await reply_of(server.url, proxies=Proxies(http=proxy.url, direct="127.0.0.0/8"))

    assert proxy.request_lines == []


async def test_the_proxys_password_is_sent_only_to_the_proxy(server: MockServer) -> None:
    server.will(HI)
    async with ProxyServer(server.port) as proxy:
        url = proxy.url.replace("://", "://ann:hid%40den@")
        await reply_of("http://models.internal/v1", proxies=Proxies(http=url))

    basic = b64encode(b"ann:hid@den").decode()
    assert proxy.headers[0]["proxy-authorization"] == f"Basic {basic}"
    assert server.calls[0].headers["authorization"] == "Bearer sk-secret"


async def test_a_server_with_tls_is_reached_through_a_tunnel(tmp_path: Path) -> None:
    issued = issue("models.internal")
    ca_file = str(issued.write(tmp_path / "trusted.pem"))
    async with MockServer(issued.server_context(tmp_path)) as server:
        server.will(HI)
        async with ProxyServer(server.port) as proxy:
            url = proxy.url.replace("://", "://ann:hidden@")
            proxies = Proxies(https=url)
            reply = await reply_of("https://models.internal/v1", proxies=proxies, ca_file=ca_file)

    assert reply.items == (message("Hi"),)
    assert proxy.request_lines == ["CONNECT models.internal:443 HTTP/1.1"]
    assert proxy.headers[0]["proxy-authorization"].startswith("Basic ")
    assert "proxy-authorization" not in server.calls[0].headers
    assert "authorization" not in proxy.headers[0]


@pytest.mark.parametrize("url", ["https://models.internal/v1", "http://models.internal/v1"])
async def test_a_proxy_that_requires_a_password_is_reported(url: str) -> None:
    async with ProxyServer(1, status=407) as proxy:
        fault = await connection_error(url, proxies=Proxies(proxy.url, proxy.url))

    assert "proxy" in fault
    assert "requires a user and a password" in fault
    assert len(proxy.request_lines) == 1


async def test_a_refusing_proxy_is_reported_without_its_password() -> None:
    async with ProxyServer(1, status=403) as proxy:
        url = proxy.url.replace("://", "://ann:hidden@")
        fault = await connection_error("https://models.internal/v1", proxies=Proxies(https=url))
        shown = proxy.url

    failed = "cannot reach https://models.internal/v1 in 3 attempts"
    assert fault == f"{failed}: the proxy {shown} returned HTTP 403"


@pytest.mark.parametrize("url", ["https://models.internal/v1", "http://models.internal/v1"])
async def test_an_unreachable_proxy_is_reported(url: str) -> None:
    proxy = "http://ann:hidden@127.0.0.1:1"

    fault = await connection_error(url, proxies=Proxies(proxy, proxy))

    assert fault == (
        f"cannot reach {url} in 3 attempts: the proxy http://127.0.0.1:1: Connection refused"
    )


async def test_a_connection_broken_behind_the_proxy_reports_the_proxy() -> None:
    async with ProxyServer(1) as proxy:
        url, proxies = proxy.url, Proxies(http=proxy.url.replace("://", "://ann:hidden@"))
        fault = await connection_error("http://models.internal/v1", proxies=proxies, max_attempts=2)

    assert fault.endswith(f"(through the proxy {url})")


async def test_the_default_proxies_are_those_of_the_environment(
    server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(HI)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with ProxyServer(server.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        model = open_model(
            base_url="http://models.internal/v1", api_key="k", model="m", api="chat", timeout_s=5
        )
        await model.reply(model_request(), RecordingListener())
        await model.close()

    assert len(proxy.request_lines) == 1


# Certificates


def expired() -> Issued:
    return issue(days=(-3, -1))


def of_an_authority() -> Issued:
    return issue(by=issue("An authority", is_authority=True))


@pytest.mark.parametrize(
    ("issued", "problem", "remedy"),
    [
        (issue, "is self-signed", "put it into a PEM file and set SSL_CERT_FILE to it"),
        (
            of_an_authority,
            "is signed by an authority that this machine does not trust",
            "put the authority's certificate into a PEM file and set SSL_CERT_FILE to it",
        ),
    ],
)
async def test_an_untrusted_certificate_is_reported(
    tmp_path: Path, issued: Any, problem: str, remedy: str
) -> None:
    async with MockServer(issued().server_context(tmp_path)) as server:
        server.will(HI)
        fault = await connection_error(server.url)
        with pytest.raises(ModelUnavailable) as caught:
            await listed(server.url)
        url = server.url

    assert fault.startswith(f"OPENAI_BASE_URL: the certificate of {url} {problem}")
    assert remedy in fault
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("issued", "problem"),
    [
        (expired(), "has expired"),
        (issue(days=(1, 3)), "is not valid yet"),
        (issue("models.internal"), "is for another name"),
        (issue("10.0.0.1"), "is for another name"),
    ],
)
async def test_the_problem_of_a_trusted_certificate_is_reported(
    tmp_path: Path, issued: Issued, problem: str
) -> None:
    ca_file = str(issued.write(tmp_path / "trusted.pem"))
    async with MockServer(issued.server_context(tmp_path)) as server:
        server.will(HI)
        fault = await connection_error(server.url, ca_file=ca_file)
        url = server.url

    assert fault.startswith(f"OPENAI_BASE_URL: the certificate of {url} {problem}")


async def test_a_certificate_in_ssl_cert_file_is_trusted(tmp_path: Path) -> None:
    issued = issue()
    ca_file = str(issued.write(tmp_path / "trusted.pem"))
    async with MockServer(issued.server_context(tmp_path)) as server:
        server.will(HI)
        reply = await reply_of(server.url, ca_file=ca_file)

    assert reply.items == (message("Hi"),)


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_a_file_without_certificates_is_reported(tmp_path: Path, text: str | None) -> None:
    ca_file = tmp_path / "trusted.pem"
    if text is not None:
        ca_file.write_text(text)

    fault = await connection_error("https://127.0.0.1:1/v1", ca_file=str(ca_file))

    assert fault.startswith(f"SSL_CERT_FILE: {ca_file} cannot be read as certificates: ")


async def test_a_server_without_tls_is_reported() -> None:
    async def answer_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer_at_once, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        fault = await connection_error(f"https://127.0.0.1:{port}/v1")

    assert fault.endswith(
        "the server does not use TLS (WRONG_VERSION_NUMBER); should the URL start with http://?"
    )


# The URL and the headers


@APIS
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_query_in_the_base_url_is_sent_with_every_request(
    server: MockServer, api: Api, slash: str
) -> None:
    server.will(streams(EVENTS[api](FakeReply("Hi"))))
    url = f"{server.url}{slash}?api-version=2024-10-21&key=s3cret"

    await reply_of(url, api=api)
    path = server.calls[0].path
    server.will(MODELS)
    names = await listed(url)

    rest = {"responses": "responses", "chat": "chat/completions"}[api]
    assert path == f"/v1/{rest}?api-version=2024-10-21&key=s3cret"
    assert server.calls[0].path == "/v1/models?api-version=2024-10-21&key=s3cret"
    assert names.server == server.url


async def test_a_query_is_not_shown(server: MockServer) -> None:
    server.will(refuses(400))
    model = OpenAIModel(fast_settings(f"{server.url}?key=s3cret", api="chat"))

    with pytest.raises(Exception, match="refuses the request") as caught:
        await model.reply(model_request(), RecordingListener())
    await model.close()

    assert "s3cret" not in str(caught.value)


@APIS
async def test_additional_headers_are_sent_with_every_request(server: MockServer, api: Api) -> None:
    server.will(streams(EVENTS[api](FakeReply("Hi"))))
    headers = {"api-key": "abc", "OpenAI-Organization": "org-1", "User-Agent": "mine"}

    await reply_of(server.url, api=api, api_key="", headers=headers)
    sent = server.calls[0].headers
    server.will(MODELS)
    await list_models(Endpoint(server.url, "", headers), timeout_s=5)

    for found in (sent, server.calls[0].headers):
        assert (found["api-key"], found["openai-organization"]) == ("abc", "org-1")
        assert found["user-agent"] == "mine"
    assert "authorization" not in sent


async def test_each_request_has_the_span_that_it_belongs_to(server: MockServer) -> None:
    async with ProxyServer(server.port) as proxy:
        for proxies in (NO_PROXIES, Proxies(http=proxy.url)):
            for span in ("00-a-b-01", "00-c-d-01", ""):
                server.will(HI)
                token = TRACEPARENT.set(span)
                await reply_of(server.url, proxies=proxies)
                TRACEPARENT.reset(token)

                assert server.calls[-1].headers.get("traceparent", "") == span


async def test_the_operators_header_replaces_ours(server: MockServer) -> None:
    server.will(HI)

    await reply_of(server.url, headers={"AUTHORIZATION": "Token t"})

    assert server.calls[0].headers["authorization"] == "Token t"


async def test_a_header_in_a_servers_error_is_masked(server: MockServer) -> None:
    server.will(refuses(401, {"message": "api-key long-secret-value is wrong"}))

    fault = await connection_error(server.url, headers={"api-key": "long-secret-value"})

    assert "long-secret-value" not in fault


async def test_an_ipv6_address_is_reached() -> None:
    async with MockServer(host="::1") as server:
        server.will(HI)
        reply = await reply_of(server.url)
        server.will(MODELS)
        names = await listed(server.url)

    assert reply.items == (message("Hi"),)
    assert names.server.startswith("http://[::1]:")


async def test_a_model_list_that_is_not_json_is_reported(server: MockServer) -> None:
    server.will(answers(200, b"<html>"))

    with pytest.raises(ModelUnavailable, match="its list of models is not JSON"):
        await listed(server.url)


async def test_unusual_entries_of_a_model_list_are_tolerated(server: MockServer) -> None:
    for body in ({"data": [{"id": "m"}, 7, None]}, [1], {"data": None}, "x"):
        server.will(answers(200, json.dumps(body).encode()))
        assert (await listed(server.url)).status == 200
