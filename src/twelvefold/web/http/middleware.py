"""The middleware of every request: request id, log line, errors, authentication and limits.

Plain ASGI, because every request pays for each layer between the server and its handler.
"""

import re
import secrets
import time
from functools import partial

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twelvefold.core import OWNER
from twelvefold.engine import ANONYMOUS, retry_unavailable
from twelvefold.observe import metrics
from twelvefold.observe.log import bind, get_logger
from twelvefold.web.http.admission import SLOT, AdmissionControl
from twelvefold.web.http.authentication import Authenticator, Caller
from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError, api_error, error_response
from twelvefold.web.http.rate_limit import RateLimiter

log = get_logger(__name__)
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Headers of every response that does not set them itself, as the page does."""
_RAW_SECURITY_HEADERS = [
    (name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]
PROBE_PATHS = ("/healthz", "/readyz")
"""Requested every few seconds by machines; logged at level DEBUG."""
IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "DELETE")
IDEMPOTENCY_KEY_PATHS = ("/v1/responses", "/v1/chat/completions")
"""Paths where a request with an Idempotency-Key is executed once."""
IDEMPOTENT_SUFFIX = "/cancel"
"""The end of the paths of POST requests that are idempotent without a key."""
CLIENT_GONE = 499
"""The status in the log if the client disconnected before the response. Source: nginx."""
SMALL_BYTES = 65_536
"""Bodies up to this length do not wait for the budget."""
BODY_ERROR = "body_error"
"""The key in a request's `state` where the protocol reports an error in the body's framing."""
RATE_HEADERS = "rate_headers"
"""The key in a request's `state` of the headers that every response to it has."""
_RELEASED = -1
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def new_request_id() -> str:
    """Return an id for a request without one."""
    return f"req_{secrets.token_hex(16)}"


class RequestMiddleware:
    """The outermost layer: gives each request an id and a log line, and exceptions a response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        given_id = headers.get("x-request-id", "")
        id = given_id if _REQUEST_ID.fullmatch(given_id) else new_request_id()
        response = _Response(id, scope, send)
        with bind(request=id):
            try:
                await self._respond(scope, receive, response, headers)
            finally:
                response.log()

    async def _respond(
        self, scope: Scope, receive: Receive, response: "_Response", headers: Headers
    ) -> None:
        try:
            await self._app(scope, receive, response.send)
        except ClientDisconnect:
            response.status = CLIENT_GONE
        except Exception as error:
            answer = _log_failure(error, may_repeat=_is_idempotent(scope, headers))
            if response.status:
                raise  # the response has begun; the server closes the connection
            await answer(scope, receive, response.send)


def _log_failure(error: Exception, may_repeat: bool) -> ASGIApp:
    """Log a server error, and return the error response.

    A function, so that no variable of the frame that caught the error refers to another one: that
    would be a cycle, which keeps the request until the garbage collector finds it.
    """
    failure = api_error(error, may_repeat=may_repeat)
    if failure.status == 500:
        log.failure("request_failed", error)
    elif failure.status > 500:
        log.warning("request_failed", error=error)
    return error_response(failure)


def _is_idempotent(scope: Scope, headers: Headers) -> bool:
    """Return whether the client may repeat the request: it takes effect at most once."""
    path = scope["path"]
    has_key = "idempotency-key" in headers and path in IDEMPOTENCY_KEY_PATHS
    is_idempotent = scope["method"] in IDEMPOTENT_METHODS or path.endswith(IDEMPOTENT_SUFFIX)
    return is_idempotent or has_key


class _Response:
    """The response so far; `status` is 0 before it begins."""

    def __init__(self, id: str, scope: Scope, send: Send) -> None:
        self.status = 0
        self._id = id
        self._scope = scope
        self._send = send
        self._started_at = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self._id.encode())]
            headers += self._scope.get("state", {}).get(RATE_HEADERS, ())
            present = {name for name, _ in headers}
            headers += [header for header in _RAW_SECURITY_HEADERS if header[0] not in present]
            message = {**message, "headers": headers}
        await self._send(message)

    def log(self) -> None:
        scope = self._scope
        write = log.debug if scope["path"] in PROBE_PATHS else log.info
        took_s = time.monotonic() - self._started_at
        self._report(took_s)
        caller = scope.get("state", {}).get("caller")
        write(
            "request",
            method=scope["method"],
            path=scope["path"][:200],
            status=self.status or CLIENT_GONE,
            took_ms=round(took_s * 1_000, 1),
            client=scope["client"][0] if scope.get("client") else "",
            **({"key": caller.key or "none"} if caller else {}),
        )

    def _report(self, took_s: float) -> None:
        if metrics.active is not None:
            route = getattr(self._scope.get("route"), "path", "")
            metrics.active.request(self._scope["method"], route, self.status or CLIENT_GONE, took_s)


class AdmissionMiddleware:
    """Authenticates API requests, and applies the limits of requests and of their bodies."""

    def __init__(
        self,
        app: ASGIApp,
        admission: AdmissionControl,
        authenticator: Authenticator,
        rate: RateLimiter,
        max_body_bytes: int,
        body_budget: BodyBudget,
    ) -> None:
        self._app = app
        self._admission = admission
        self._authenticator = authenticator
        self._rate = rate
        self._max_body_bytes = max_body_bytes
        self._body_budget = body_budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner, state = await self._find_owner(scope), scope.setdefault("state", {})
        OWNER.set(owner)
        async with self._admission.acquire_slot(owner) as state[SLOT]:
            await state[SLOT].measure(partial(self._handle, scope, receive, send))

    async def _find_owner(self, scope: Scope) -> str:
        """Return the principal of an API request, and the client's address for another one."""
        headers, client, owners = Headers(scope=scope), _client(scope), self._admission.owners
        if scope["path"] in PROBE_PATHS:
            return f"{ANONYMOUS}probe {client_of(client)}"
        authorization = headers.get("authorization", "")
        owner = owners.find(authorization, client_of(client))
        if owner.startswith(ANONYMOUS) and scope["path"].startswith("/v1"):
            async with self._admission.acquire_slot(owner) as slot:
                authenticate = partial(self._authenticate, headers, client)
                owner = (await slot.measure(authenticate)).principal.id
            owners.remember(authorization, owner)
        return owner

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = _client(scope)
        owner = client_of(client)
        if scope["path"].startswith("/v1"):
            scope["state"]["caller"] = caller = await self._caller(Headers(scope=scope), client)
            owner = caller.principal.id
            if self._rate.has_limits or caller.rate_per_minute is not None:
                scope["state"][RATE_HEADERS] = await self._count(caller)
        body = LimitedBody(receive, scope, self._max_body_bytes, self._body_budget, owner)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.release()

    async def _count(self, caller: Caller) -> list[tuple[bytes, bytes]]:
        """Count a request against its limits; return the headers of the tightest.

        Raises ApiError with 429 if one is reached.
        """
        rates = self._rate.limits(caller.principal.id, caller.key, caller.rate_per_minute)
        headers = await self._rate.take(rates)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    async def _authenticate(self, headers: Headers, client: str) -> Caller:
        """Return the caller; a request waits for the database as later reads do."""
        return await retry_unavailable(partial(self._authenticator.authenticate, headers, client))

    async def _caller(self, headers: Headers, client: str) -> Caller:
        try:
            return await self._authenticate(headers, client)
        except ApiError:
            # A revoked key must not use the slots and the time of its former principal.
            self._admission.owners.forget(headers.get("authorization", ""))
            raise


def _client(scope: Scope) -> str:
    """Return the client's address; "" if it is unknown."""
    return str(scope["client"][0]) if scope.get("client") else ""


# --- bodies -------------------------------------------------------------------------------------


class LimitedBody:
    """The body of one request, of at most `max_bytes`.

    A body larger than SMALL_BYTES takes its length from the budget of its `owner`. It gives the
    bytes back when it is complete or `release` is called.
    """

    def __init__(
        self, receive: Receive, scope: Scope, max_bytes: int, budget: BodyBudget, owner: str
    ) -> None:
        """Raise ApiError with 413 if the Content-Length is too large, before any byte is read."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise _too_large(max_bytes)
        self._receive = receive
        self._state = scope.setdefault("state", {})
        self._length = int(length) if length.isdecimal() else None
        self._max_bytes = max_bytes
        self._budget = budget
        self._owner = owner
        self._received_bytes = 0
        self._taken_bytes = 0

    async def receive(self) -> Message:
        """Receive the next part.

        Raises ApiError: 413 if the body is too large, 503 if the budget is used up, 400 for an
        error in its framing. A framing error is raised after the bytes before it were received.
        """
        if not self._taken_bytes:
            await self._take()
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._max_bytes:
            raise _too_large(self._max_bytes)
        if error := self._state.get(BODY_ERROR):
            raise error
        if not message.get("more_body"):
            self.release()
        return message

    def release(self) -> None:
        """Give the bytes back to the budget, for good."""
        if self._taken_bytes > 0:
            self._budget.give_back(self._owner, self._taken_bytes)
        self._taken_bytes = _RELEASED

    async def _take(self) -> None:
        if self._length is None:
            size = self._max_bytes if self._received_bytes > SMALL_BYTES else 0
        else:
            size = self._length if self._length > SMALL_BYTES else 0
        if size:
            await self._budget.take(self._owner, size)
            self._taken_bytes = size


def _too_large(max_bytes: int) -> ApiError:
    message = f"the body is too long; the maximum is {max_bytes} bytes"
    return ApiError(413, message, code="request_too_large")
