"""API keys and the principals behind them.

The database has the SHA-256 of each key, not the key. As long as there is no key, the API is open,
but only to requests that come from the same machine. The keys of requests that wait are checked
again, once for all requests with the same key, not once per request.
"""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from twelvefold.config import Settings
from twelvefold.core import SCOPES, ApiKey, Principal, Store
from twelvefold.errors import ServiceFault, SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.key_lookups import KeyLookups, LookupLimits
from twelvefold.web.http.key_uses import KeyUses
from twelvefold.web.http.token_buckets import TokenBuckets

log = get_logger(__name__)
LOCAL = Principal("local")
"""The principal of all requests while there is no key."""
LOOKUP_LIMITS = LookupLimits()
ADMIN = "admin"
"""The scope of operators."""
CACHE_TTL_S = LOOKUP_LIMITS.fresh_s
SAME_SITE = ("same-origin", "none")
"""`Sec-Fetch-Site` of requests of the page itself, and of an address that a person typed."""
_KEY = re.compile(r"tw_[A-Za-z0-9_-]{40,80}")
_REVOKED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
READ_METHODS = ("GET", "HEAD")
_CHALLENGE = {"www-authenticate": 'Bearer realm="twelvefold"'}
_PROXY_HEADERS = (
    *("forwarded", "via", "x-real-ip", "cf-connecting-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
)
"""A proxy that adds none of these headers cannot be distinguished from a client."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of a request; `key` is the id of its API key, "" without one.

    `workflows` and `tools` are those that the key allows; None: all. `rate_per_minute` is the limit
    of the key alone, `priority` is that of its runs in the queue.
    """

    principal: Principal
    key: str
    scopes: tuple[str, ...] = SCOPES
    workflows: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    rate_per_minute: int | None = None
    priority: int = 0

    def allows_workflow(self, workflow: str) -> bool:
        """Return whether the key allows a workflow; a thread without runs may have none ("")."""
        return self.workflows is None or workflow in ("", *self.workflows)


class Authenticator:
    """Finds the caller of a request by its API key, or by its origin while there is no key."""

    def __init__(
        self,
        store: Store,
        *,
        is_open: bool,
        clock: Callable[[], float] = time.monotonic,
        limits: LookupLimits = LOOKUP_LIMITS,
    ) -> None:
        self.uses = KeyUses(store, clock)
        self._store = store
        self._is_open = is_open
        self._clock = clock
        self._checked_at = clock()
        self._cache_ttl_s = limits.fresh_s
        self._lookups = KeyLookups(store, limits, clock)
        self._checks = TokenBuckets(
            limits.client_failures, limits.client_failures_per_s, clock=clock
        )

    @classmethod
    async def create(cls, store: Store, settings: Settings) -> "Authenticator":
        """Return an authenticator that is open to this machine if there is no key.

        Raises SettingsError if an open server could be reached from elsewhere.
        """
        if await store.has_keys():
            return cls(store, is_open=False)
        if not is_loopback(settings.host):
            raise SettingsError(
                f"HOST: {settings.host!r} can be reached from elsewhere, and there is no API key; "
                "run `twelvefold keys create NAME` first, or use 127.0.0.1"
            )
        if settings.trusted_proxies:
            raise SettingsError(
                "TRUSTED_PROXIES: a proxy forwards requests of others, and there is no API key; "
                "run `twelvefold keys create NAME` first"
            )
        log.warning("open_without_key", host=settings.host, principal=LOCAL.id)
        return cls(store, is_open=True)

    async def authenticate(self, headers: Headers, client: str = "") -> Caller:
        """Return the caller with these headers and this address.

        Raises ApiError: 401 without a valid key or with an expired one, 403 for a request that is
        not local while there is no key, 429 after too many unknown keys.
        """
        if await self._is_still_open(headers):
            _check_is_local(headers, client)
            return Caller(LOCAL, "")
        token = _token(headers.get("authorization", ""))
        sha256 = hash_of(token)
        found = await self._lookups.find(sha256, client_of(client))
        if found is None or not _matches(found.key, sha256):
            raise _unauthorized("incorrect API key; `twelvefold keys list` lists the keys")
        if self._clock() >= found.ends_at:
            raise _expired(found.key, sha256)
        key = found.key
        self.uses.record(key.id)
        principal = Principal(key.principal, key.id)
        limits = key.workflows, key.tools, key.rate_per_minute, key.priority
        return Caller(principal, key.id, key.scopes, *limits)

    async def _is_still_open(self, headers: Headers) -> bool:
        """Return whether there is no key yet. Any process may create the first one."""
        if self._is_open and self._must_check(headers):
            self._checked_at = self._clock()
            if await self._store.has_keys():
                self._is_open = False
                log.info("closed_without_key")
        return self._is_open

    def _must_check(self, headers: Headers) -> bool:
        """Return whether the cache is too old, or the request has a key that may be the first.

        The checks for requests with a key are rate limited.
        """
        if self._clock() - self._checked_at > self._cache_ttl_s:
            return True
        key = _KEY.search(headers.get("authorization", ""))
        return key is not None and self._checks.take("") == 0


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach this host."""
    try:
        parsed = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def hash_of(token: str) -> str:
    """Return the hash under which a key is stored.

    A key is random, so neither a salt nor a slow hash would make it safer.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def principal_of(request: Request, scope: str = "runs") -> Principal:
    """Return the principal of a request; `scope` is required unless the request only reads.

    Raises ApiError: 401 if the request was not authenticated, 403 if its key lacks the scope.
    """
    caller = caller_of(request)
    if request.method not in READ_METHODS and scope not in caller.scopes:
        raise missing_scope(scope)
    return caller.principal


def caller_of(request: Request) -> Caller:
    """Return the caller of a request. Raises ApiError with 401 if it was not authenticated."""
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    if caller is None:
        raise _unauthorized("no API key was given")
    return caller


def missing_scope(scope: str) -> ApiError:
    return ApiError(403, f"this API key does not have the scope {scope!r}", code="missing_scope")


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if not token or scheme.lower() != "bearer":
        raise _unauthorized("no API key was given; send the header `Authorization: Bearer tw_…`")
    if not _KEY.fullmatch(token):
        raise _unauthorized("not an API key of this server; its keys begin with tw_")
    return token


def _matches(key: ApiKey, sha256: str) -> bool:
    """Return whether the hash is that of one of the key's secrets."""
    return hmac.compare_digest(key.sha256, sha256) or hmac.compare_digest(key.old_sha256, sha256)


def _unauthorized(message: str, code: str = "invalid_api_key") -> ApiError:
    return ApiError(401, message, code=code, headers=_CHALLENGE)


def _expired(key: ApiKey, sha256: str) -> ApiError:
    """Return the error for a secret that is valid no longer; only its holder can see it."""
    if sha256 == key.old_sha256:
        message = "this API key was rotated; use the new one"
    else:
        message = "this API key has expired; `twelvefold keys rotate` gives it a new secret"
    return _unauthorized(message, "expired_api_key")


def _check_is_local(headers: Headers, client: str) -> None:
    """Raise ApiError with 403 for a request on behalf of another machine or site.

    HOST does not decide who reaches an app on another server, so the client's address counts. Also
    refused are requests of another site's page in a local browser, also under a name that resolves
    to this machine (DNS rebinding), and requests that a proxy forwards.
    """
    if client and not is_loopback(client):
        raise _not_local(f"the request is from {client[:80]}")
    origin = headers.get("origin")
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        site = urlsplit(origin or "").netloc
    except ValueError:
        raise _not_local("the host or the origin of the request is invalid") from None
    if not is_loopback(host) and not host.endswith(".localhost"):
        raise _not_local(f"the request is for {host[:80]!r}")
    if origin is not None and site != headers.get("host"):
        raise _not_local("the request is from a page of another site")
    # A browser sends no Origin with a GET, for example for an image of another site's page.
    if headers.get("sec-fetch-site", "none").lower() not in SAME_SITE:
        raise _not_local("the request is from a page of another site")
    if any(name in headers for name in _PROXY_HEADERS):
        raise _not_local("the request came through a proxy")


def _not_local(reason: str) -> ApiError:
    message = f"{reason}, and without an API key this server is open only to its own machine"
    return ApiError(403, f"{message}; create one with `twelvefold keys create`", code="no_api_key")


# --- keys of requests that wait -----------------------------------------------------------------


@dataclass(slots=True)
class _WatchedKey:
    """A key and the requests that wait; headers and address are those of one of them."""

    headers: Headers
    client: str
    requests: set["asyncio.Future[ApiError]"] = field(default_factory=set)


class KeyWatch:
    """Checks the keys of waiting requests every `poll_s` seconds.

    The authenticator caches a key for at most two seconds, so a revoked key is noticed after two
    seconds plus `poll_s`.
    """

    def __init__(self, authenticator: Authenticator, poll_s: float) -> None:
        self._authenticator = authenticator
        self._poll_s = poll_s
        self._keys: dict[str, _WatchedKey] = {}
        self._is_needed = asyncio.Event()

    async def wait_until_revoked(self, request: Request) -> ApiError:
        """Return the error response of the request when its key is revoked."""
        # Not the key's id: a rotated key has two secrets, and one of them ends earlier.
        secret = request.headers.get("authorization", "")
        client = request.client.host if request.client else ""
        watched = self._keys.setdefault(secret, _WatchedKey(request.headers, client))
        revoked: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        watched.requests.add(revoked)
        self._is_needed.set()
        try:
            return await revoked
        finally:
            watched.requests.discard(revoked)
            if not watched.requests:
                self._keys.pop(secret, None)

    async def poll(self) -> None:
        """Check the keys until cancelled. Does nothing while no request waits."""
        while True:
            if not self._keys:
                self._is_needed.clear()
                await self._is_needed.wait()
            await asyncio.gather(*(self._check(watched) for watched in [*self._keys.values()]))
            await asyncio.sleep(self._poll_s)

    async def _check(self, watched: _WatchedKey) -> None:
        try:
            await self._authenticator.authenticate(watched.headers, watched.client)
        except ApiError as error:
            if error.status in _REVOKED:
                _end_requests(watched, error)
        except ServiceFault as error:
            # The database is unavailable. The readers of runs end by themselves then.
            log.warning("key_not_checked", error=error)
        except Exception:
            # This is the only task that checks keys, so it must not end.
            log.exception("key_check_failed")


def _end_requests(watched: _WatchedKey, error: ApiError) -> None:
    for request in watched.requests:
        if not request.done():
            request.set_result(error)


@asynccontextmanager
async def watch_keys(authenticator: Authenticator, poll_s: float) -> AsyncIterator[KeyWatch]:
    """Yield a `KeyWatch` that polls, and record the last use of keys, until the end of the body."""
    watch, loop = KeyWatch(authenticator, poll_s), asyncio.get_running_loop()
    tasks = (
        loop.create_task(watch.poll(), name="key watch"),
        loop.create_task(authenticator.uses.write(), name="key uses"),
    )
    try:
        yield watch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
