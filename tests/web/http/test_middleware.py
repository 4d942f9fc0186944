"""Every response has an id, an error object if it failed, security headers and a log line."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.web.doubles import BEARER, TOKEN, Keys, api_key, asking, web_on, with_routes
from twelvefold.errors import (
    Conflict,
    NotFound,
    RequestError,
    StepUnderWay,
    StoreRefused,
    StoreUnavailable,
)
from twelvefold.web.app import create_app
from twelvefold.web.http.authentication import principal_of
from twelvefold.web.http.errors import ApiError, json_response
from twelvefold.web.http.middleware import RequestMiddleware
from twelvefold.web.schemas.decode import parse_json

RAISED: dict[str, Exception] = {
    "api": ApiError(400, "not so", code="wrong", param="input"),
    "unknown": NotFound("no run 'resp_1'"),
    "conflict": Conflict("not over yet"),
    "request": RequestError("no"),
    "away": StoreUnavailable("mysql at 10.0.0.1 is gone"),
    "step": StepUnderWay("run resp_1 is in the transaction of a step"),
    "refused": StoreRefused("table x is broken"),
    "bug": ZeroDivisionError("secret"),
}

NOT_IMPLEMENTED = ("/compact", "/input_tokens")
"""Ends of the paths of the OpenAI API that return 404."""


async def raise_it(request: Request) -> Response:
    raise RAISED[request.path_params["what"]]


async def echo(request: Request) -> Response:
    value = parse_json(await request.body())
    return json_response({"principal": principal_of(request).id, "body": value})


async def broken_stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    return StreamingResponse(pieces())


TEST_ROUTES = (
    Route("/v1/raise/{what}", raise_it, methods=["GET", "POST"]),
    Route("/v1/echo", echo, methods=["POST"]),
    Route("/v1/echo", echo, methods=["PUT"]),
    Route("/broken", broken_stream),
)


def envelope(answer: Any) -> dict[str, Any]:
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    error: dict[str, Any] = body["error"]
    return error


async def test_an_unknown_path_is_404() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        for path in ("/v1/nope", "/nope", "/v1/conversations/"):
            answer = await client.get(path)

            assert answer.status_code == 404
            assert envelope(answer)["code"] == "unknown_url"


async def test_an_unknown_method_is_405_with_the_allowed_ones() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        answer = await client.delete("/v1/echo")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, PUT")
    assert envelope(answer)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("what", "status", "type", "code", "again"),
    [
        ("api", 400, "invalid_request_error", "wrong", None),
        ("unknown", 404, "invalid_request_error", "not_found", None),
        ("conflict", 409, "invalid_request_error", "conflict", None),
        ("request", 400, "invalid_request_error", None, None),
        ("away", 503, "server_error", "service_unavailable", "false"),
        ("step", 503, "server_error", "service_unavailable", "false"),
        ("refused", 500, "server_error", "server_error", "false"),
        ("bug", 500, "server_error", "server_error", "false"),
    ],
)
async def test_every_exception_has_its_status(
    what: str, status: int, type: str, code: str | None, again: str | None
) -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        answer = await client.post(f"/v1/raise/{what}")

    error = envelope(answer)
    assert (answer.status_code, error["type"], error["code"]) == (status, type, code)
    assert answer.headers.get("x-should-retry") == again
    assert "secret" not in answer.text
    assert "10.0.0.1" not in answer.text


async def test_a_run_in_its_transaction_is_503_with_retry_after() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        answer = await client.post("/v1/raise/step")

    assert envelope(answer)["message"] == "run resp_1 is in the transaction of a step"
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("method", "path", "key", "may_retry"),
    [
        ("GET", "/v1/responses/resp_1", None, True),
        ("POST", "/v1/responses", "k", True),
        ("POST", "/v1/responses/resp_1/cancel", None, True),
        ("POST", "/v1/responses", None, False),
        ("POST", "/v1/conversations", "k", False),
    ],
)
async def test_only_an_idempotent_request_may_be_retried(
    method: str, path: str, key: str | None, may_retry: bool
) -> None:
    async def unavailable(scope: Scope, receive: Receive, send: Send) -> None:
        raise StoreUnavailable("gone")

    async with asking(RequestMiddleware(unavailable)) as client:
        answer = await client.request(method, path, headers={"idempotency-key": key} if key else {})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert ("x-should-retry" not in answer.headers) is may_retry


async def test_a_request_waits_for_a_database_that_cannot_look_up_its_key() -> None:
    keys = Keys(has=[api_key()])
    async with web_on(keys) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        keys.is_unavailable, before = True, keys.queries
        request = asyncio.create_task(client.post("/v1/echo", json={}, headers=BEARER))
        while keys.queries == before:
            await asyncio.sleep(0)
        keys.is_unavailable = False
        answer = await request

    assert answer.status_code == 200


async def test_an_unexpected_error_is_logged_with_the_requests_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        await client.post("/v1/raise/bug")

    failed = next(one for one in caplog.records if one.getMessage() == "request_failed")
    assert failed.exc_info is not None
    assert failed.exc_info[0] is ZeroDivisionError


async def test_every_response_has_its_own_id() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        paths = ("/healthz", "/v1/nope", "/v1/raise/bug", "/healthz")
        ids = [(await client.get(path)).headers["x-request-id"] for path in paths]

    assert len(set(ids)) == 4
    assert all(id.startswith("req_") for id in ids)


async def test_a_valid_id_of_a_proxy_is_kept() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        kept = await client.get("/healthz", headers={"x-request-id": "edge-1:2.3"})
        made = await client.get("/healthz", headers={"x-request-id": "a b"})

    assert kept.headers["x-request-id"] == "edge-1:2.3"
    assert made.headers["x-request-id"].startswith("req_")


async def test_every_response_has_security_headers() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        for path in ("/healthz", "/nope"):
            headers = (await client.get(path)).headers

            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "server" not in headers


async def test_the_log_line_of_a_request_has_neither_body_nor_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with web_on(Keys([api_key()])) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        await client.post("/v1/echo?q=query", json="body text", headers=BEARER)

    (line,) = (one for one in caplog.records if one.getMessage() == "request")
    fields = line.__dict__["fields"]
    assert fields.pop("took_ms") >= 0
    assert fields == {
        "method": "POST",
        "path": "/v1/echo",
        "status": 200,
        "client": "127.0.0.1",
        "key": "key-1",
    }
    ours = [one for one in caplog.records if one.name.startswith("twelvefold")]
    text = "".join(f"{one.getMessage()}{one.__dict__.get('fields')}" for one in ours)
    assert not any(secret in text for secret in (TOKEN, "body text", "query"))


async def test_probes_are_logged_at_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "twelvefold.web.http.middleware")
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        await client.get("/healthz")

    assert "request" not in [one.getMessage() for one in caplog.records]


async def test_unknown_paths_of_the_api_require_a_key() -> None:
    async with web_on(Keys([api_key()])) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        for path in ("/v1/echo", "/v1/nope", "/v1"):
            answer = await client.post(path, content=b"{}")

            assert answer.status_code == 401
            assert envelope(answer)["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/healthz")).status_code == 200


async def test_the_key_determines_the_principal() -> None:
    async with web_on(Keys([api_key()])) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        answer = await client.post("/v1/echo", json={"a": 1}, headers=BEARER)

    assert answer.json() == {"principal": "ann", "body": {"a": 1}}


async def test_a_body_that_is_too_long_is_413_and_the_next_request_is_accepted() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1_000

    async with (
        web_on(Keys(), max_body_bytes=10_000) as web,
        asking(with_routes(web, *TEST_ROUTES)) as client,
    ):
        announced = await client.post("/v1/echo", content=b"x" * 20_000)
        unannounced = await client.post("/v1/echo", content=pieces())
        fine = await client.post("/v1/echo", json="ok")

    assert [announced.status_code, unannounced.status_code, fine.status_code] == [413, 413, 200]
    assert envelope(announced)["code"] == envelope(unannounced)["code"] == "request_too_large"


async def test_invalid_json_is_400() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *TEST_ROUTES)) as client:
        answer = await client.post("/v1/echo", content=b"[" * 50_000)

    assert answer.status_code == 400
    assert envelope(answer)["param"] is None


async def test_too_many_requests_of_one_key_are_429() -> None:
    async with web_on(Keys(), rate_per_minute=1) as web, asking(create_app(web)) as client:
        first = await client.get("/v1/nope")
        second = await client.get("/v1/nope")
        health = await client.get("/healthz")

    assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (404, "0")
    assert second.status_code == 429
    assert 0 < int(second.headers["retry-after"]) <= 60  # `test_rate_limit` has the exact time
    assert envelope(second)["type"] == "rate_limit_error"
    assert health.status_code == 200


async def test_an_exception_after_the_response_began_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_on(Keys()) as web:
        app = with_routes(web, *TEST_ROUTES)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(60)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/broken",
            "headers": [(b"host", b"localhost")],
            "query_string": b"",
            "client": None,
        }
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            await app(scope, receive, send)

    assert [one["type"] for one in sent][:2] == ["http.response.start", "http.response.body"]
    assert "request_failed" in [one.getMessage() for one in caplog.records]


async def test_the_openapi_document_describes_every_route_of_the_api() -> None:
    async with web_on(Keys()) as web, asking(create_app(web)) as client:
        document = (await client.get("/openapi.json")).json()
        ours = [one for one in create_app(web).routes if isinstance(one, Route)]

    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item.keys() - {"parameters"}
    }
    routed = {
        (one.path.replace(":path", ""), method) for one in ours for method in one.methods or ()
    }
    assert described == {
        (path, method)
        for path, method in routed
        if path.startswith(("/v1/", "/healthz", "/readyz", "/version"))
        and not path.endswith(NOT_IMPLEMENTED)
        and method != "HEAD"
    }
