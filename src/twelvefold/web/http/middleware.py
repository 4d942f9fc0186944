"""What every request passes through: its id, its line in the log, its limits, its caller.

Plain ASGI: what stands between a server and a handler is paid by every request.
"""

import re
import secrets
import time
from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twelvefold.core.owner import OWNER
from twelvefold.engine.loop_shares import ANONYMOUS
from twelvefold.observe.log import bind, get_logger
from twelvefold.web.http.admission import PLACE, AdmissionControl
from twelvefold.web.http.authentication import Authenticator, Caller
from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.body_limit import LimitedBody, RateLimiter
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError, api_error, refusal

log = get_logger(__name__)
SECURED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise itself; the page needs a policy of its own."""
_SECURED = [(name.encode(), value.encode()) for name, value in SECURED.items()]
QUIET = ("/healthz", "/readyz")
"""Asked every few seconds by machines; their lines are for debugging."""
KEYED = ("/v1/responses", "/v1/chat/completions")
ONCE = "/cancel"
"""The end of the path of what is done once, however often it is asked for, key or not."""
"""Where a request under an Idempotency-Key is carried out once, however often it comes."""
CLIENT_GONE = 499
"""In the log, for an answer that nobody waited for. Source: nginx."""
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def new_request_id() -> str:
    """An id for a request that came without one."""
    return f"req_{secrets.token_hex(16)}"


class Edge:
    """The outermost layer: nothing leaves without an id, and no fault without an envelope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        exchange = _Exchange(given if _REQUEST_ID.fullmatch(given) else new_request_id(), send)
        with bind(request=exchange.id):
            try:
                await self._answered(scope, receive, exchange, headers)
            finally:
                exchange.log(scope)

    async def _answered(
        self, scope: Scope, receive: Receive, exchange: "_Exchange", headers: Headers
    ) -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except Exception as error:
            answer = _refusal(error, scope, headers)
            if exchange.status:
                raise  # half an answer is out; the server closes the connection
            await answer(scope, receive, exchange.send)


def _refusal(error: Exception, scope: Scope, headers: Headers) -> ASGIApp:
    """The answer to a request that failed, which is logged.

    A function of its own: in a variable of the frame that has caught it, an error would be part of
    a cycle, which keeps the request until the garbage collector finds it.
    """
    path = scope["path"]
    once = path.endswith(ONCE) or ("idempotency-key" in headers and path in KEYED)
    fault = api_error(error, scope["method"], once=once)
    if fault.status == 500:
        log.failure("request_failed", error)
    elif fault.status > 500:
        log.warning("request_failed", error=error)
    return refusal(fault)


class _Exchange:
    """One request and what was answered so far; `status` is 0 before the answer has begun."""

    def __init__(self, id: str, send: Send) -> None:
        self.id = id
        self.status = 0
        self._send = send
        self._begun = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self.id.encode())]
            said = {name for name, _ in headers}
            headers += [(name, value) for name, value in _SECURED if name not in said]
            message = {**message, "headers": headers}
        await self._send(message)

    def log(self, scope: Scope) -> None:
        write = log.debug if scope["path"] in QUIET else log.info
        caller = scope.get("state", {}).get("caller")
        write(
            "request",
            method=scope["method"],
            path=scope["path"][:200],
            status=self.status or CLIENT_GONE,
            took_ms=round((time.monotonic() - self._begun) * 1_000, 1),
            client=scope["client"][0] if scope.get("client") else "",
            **({"key": caller.key or "none"} if caller else {}),
        )


class Gate:
    """What stands before the API: who asks, how often, and how much may be read."""

    def __init__(
        self,
        app: ASGIApp,
        admission: AdmissionControl,
        authenticator: Authenticator,
        rate: RateLimiter,
        max_body_bytes: int,
        bodies: BodyBudget,
    ) -> None:
        self._app = app
        self._admission = admission
        self._authenticator = authenticator
        self._rate = rate
        self._max_body_bytes = max_body_bytes
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner, state = await self._owner(scope), scope.setdefault("state", {})
        OWNER.set(owner)
        async with self._admission.place(owner) as state[PLACE]:
            await state[PLACE].measured(partial(self._admitted, scope, receive, send))

    async def _owner(self, scope: Scope) -> str:
        """Whose the request is: a principal's; without the API, whoever has its address."""
        headers, client, owners = Headers(scope=scope), _client(scope), self._admission.owners
        if scope["path"] in QUIET:
            return f"{ANONYMOUS}probe {client_of(client)}"
        authorization = headers.get("authorization", "")
        owner = owners.of(authorization, client_of(client))
        if owner.startswith(ANONYMOUS) and scope["path"].startswith("/v1"):
            async with self._admission.place(owner) as place:
                look = partial(self._authenticator.caller, headers, client)
                owner = (await place.measured(look)).principal.id
            owners.learn(authorization, owner)
        return owner

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender, client = send, _client(scope)
        owner = client_of(client)
        if scope["path"].startswith("/v1"):
            scope["state"]["caller"] = caller = await self._caller(Headers(scope=scope), client)
            owner = caller.principal.id
            if left := self._rate.take(caller.key):
                sender = _with(left, send)
        body = LimitedBody(receive, scope, self._max_body_bytes, self._bodies, owner)
        try:
            await self._app(scope, body.receive, sender)
        finally:
            body.release()

    async def _caller(self, headers: Headers, client: str) -> Caller:
        try:
            return await self._authenticator.caller(headers, client)
        except ApiError:
            # A revoked key must not use the places and the time of its former principal.
            self._admission.owners.forget(headers.get("authorization", ""))
            raise


def _client(scope: Scope) -> str:
    """The address that a request comes from."""
    return str(scope["client"][0]) if scope.get("client") else ""


def _with(added: dict[str, str], send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(added)
        await send(message)

    return sent
