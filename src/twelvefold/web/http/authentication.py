"""Who asks: API keys and the principals behind them.

A key is kept as its SHA-256, so whoever reads the table cannot use it. Without any key the API is
open, but only to its own machine, and only to requests that come from there themselves.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from twelvefold.config import Settings
from twelvefold.core.ports import SCOPES, Principal, Store
from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.key_lookups import KeyLookups, LookupLimits
from twelvefold.web.http.token_buckets import TokenBuckets

log = get_logger(__name__)
LOCAL = Principal("local")
"""On whose behalf everything is done where no key is asked for."""
LOOKUP_LIMITS = LookupLimits()
CACHE_TTL_S = LOOKUP_LIMITS.fresh_s
SAME_SITE = ("same-origin", "none")
"""What `Sec-Fetch-Site` says of the page's own requests, and of an address typed by a person."""
_KEY = re.compile(r"tw_[A-Za-z0-9_-]{40,80}")
_READING = ("GET", "HEAD")
_CHALLENGE = {"www-authenticate": 'Bearer realm="twelvefold"'}
_FORWARDED = (
    *("forwarded", "via", "x-real-ip", "cf-connecting-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
)
"""Headers that proxies add; one that adds none of them cannot be told from a client."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from; `key` is the id of the key, "" where none was asked for."""

    principal: Principal
    key: str
    scopes: tuple[str, ...] = SCOPES


class Authenticator:
    """Lets in who has a key, or, while there is none at all, who is on the same machine."""

    def __init__(
        self,
        store: Store,
        *,
        is_open: bool,
        clock: Callable[[], float] = time.monotonic,
        limits: LookupLimits = LOOKUP_LIMITS,
    ) -> None:
        self._store = store
        self._open = is_open
        self._clock = clock
        self._looked_at = clock()
        self._fresh_s = limits.fresh_s
        self._lookups = KeyLookups(store, limits, clock)
        self._looks = TokenBuckets(
            limits.client_failures, limits.client_failures_per_s, clock=clock
        )

    @classmethod
    async def of(cls, store: Store, settings: Settings) -> "Authenticator":
        """Open only to this machine and only if there never was a key.

        Raises SettingsError where others could come in without one.
        """
        if await store.keys():
            return cls(store, is_open=False)
        if not is_loopback(settings.host):
            raise SettingsError(
                f"HOST: {settings.host!r} can be reached from elsewhere, and there is no API key; "
                "run `twelvefold keys create NAME` first, or use 127.0.0.1"
            )
        if settings.trusted_proxies:
            raise SettingsError(
                "TRUSTED_PROXIES: a proxy lets others in, and there is no API key; "
                "run `twelvefold keys create NAME` first"
            )
        log.warning("open_without_key", host=settings.host, principal=LOCAL.id)
        return cls(store, is_open=True)

    async def caller(self, headers: Headers, client: str = "") -> Caller:
        """Who sends these headers from this address.

        Raises ApiError with 401, 403 for a stranger, or 429 after too many unknown keys.
        """
        if await self._is_open(headers):
            _refuse_strangers(headers)
            return Caller(LOCAL, "")
        token = _token(headers.get("authorization", ""))
        sha256 = hash_of(token)
        found = await self._lookups.find(sha256, client_of(client))
        if found is None or not hmac.compare_digest(found.sha256, sha256):
            raise _unauthorized("incorrect API key; `twelvefold keys list` shows which there are")
        return Caller(Principal(found.principal), found.id, found.scopes)

    async def _is_open(self, headers: Headers) -> bool:
        """Until the first key is made, by whatever process; one that is shown may be the first."""
        if self._open and self._may_have_closed(headers):
            self._looked_at = self._clock()
            if await self._store.keys():
                self._open = False
                log.info("closed_without_key")
        return self._open

    def _may_have_closed(self, headers: Headers) -> bool:
        """Whether to look: after a while, or for a key that is shown, a bounded number of times."""
        if self._clock() - self._looked_at > self._fresh_s:
            return True
        shown = _KEY.search(headers.get("authorization", ""))
        return shown is not None and self._looks.take("") == 0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hash_of(token: str) -> str:
    """A key as it is kept. It is random, so no salt and no slow hash make it safer."""
    return hashlib.sha256(token.encode()).hexdigest()


def principal_of(request: Request, scope: str = "runs") -> Principal:
    """On whose behalf this request is made; `scope` is what it needs unless it only reads.

    Raises ApiError: 401 if nobody has looked, 403 if the key does not have the scope.
    """
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    if caller is None:
        raise _unauthorized("no API key was given")
    if request.method not in _READING and scope not in caller.scopes:
        raise ApiError(403, f"this API key does not have the scope {scope!r}", code="missing_scope")
    return caller.principal


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if not token or scheme.lower() != "bearer":
        raise _unauthorized("no API key was given; send the header `Authorization: Bearer tw_…`")
    if not _KEY.fullmatch(token):
        raise _unauthorized("that is no API key of this server; they begin with tw_")
    return token


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers=_CHALLENGE)


def _refuse_strangers(headers: Headers) -> None:
    """Keep out what comes from this machine for somebody else.

    A page of another site that is open in a browser here, under its own name or one that it has
    pointed at this machine; and a proxy's clients.
    """
    origin = headers.get("origin")
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        site = urlsplit(origin or "").netloc
    except ValueError:
        raise _stranger("the request says of no site that it is for or from it") from None
    if not is_loopback(host) and not host.endswith(".localhost"):
        raise _stranger(f"the request is for {host[:80]!r}")
    if origin is not None and site != headers.get("host"):
        raise _stranger("the request is from a page of another site")
    # A browser sends no Origin with a GET, as for an image of another site's page.
    if headers.get("sec-fetch-site", "none").lower() not in SAME_SITE:
        raise _stranger("the request is from a page of another site")
    if any(name in headers for name in _FORWARDED):
        raise _stranger("the request came through a proxy")


def _stranger(why: str) -> ApiError:
    message = f"{why}, and without an API key this server is open only to its own machine"
    return ApiError(403, f"{message}; create one with `twelvefold keys create`", code="no_api_key")
