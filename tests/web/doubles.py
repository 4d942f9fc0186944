"""A web process on a store that has only API keys and a schema."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from twelvefold.boot import SCHEMA, NoModel, RandomIds
from twelvefold.config import Settings
from twelvefold.core.budget import Limits
from twelvefold.core.ports import DEFAULT_SCOPES, ApiKey, FoundKey, Schema, Store, TokenGrant
from twelvefold.engine.services import Services
from twelvefold.errors import StoreUnavailable
from twelvefold.web.app import create_app
from twelvefold.web.http.authentication import hash_of
from twelvefold.web.process import open_web
from twelvefold.web.state import WAITS, Waits, Web

TOKEN = f"tw_{'a' * 43}"
OTHER = f"tw_{'b' * 43}"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def api_key(
    token: str = TOKEN,
    principal: str = "ann",
    id: str = "key-1",
    scopes: tuple[str, ...] = DEFAULT_SCOPES,
) -> ApiKey:
    return ApiKey(id, f"{principal}'s", principal, scopes, hash_of(token), created_at_us=1)


@dataclass
class Keys:
    """The keys and the schema of a store; `queries` counts the calls."""

    has: list[ApiKey] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    at: Schema | None = field(default_factory=lambda: Schema(SCHEMA, SCHEMA))
    is_unavailable: bool = False
    queries: int = 0
    touched: list[str] = field(default_factory=list)
    buckets: dict[str, int] = field(default_factory=dict)
    now_us: int = 0

    async def has_keys(self) -> bool:
        self._count_query()
        return bool(self.has)

    async def find_key(self, sha256: str) -> FoundKey | None:
        self._count_query()
        for one in self.has:
            if sha256 in (one.sha256, one.old_sha256) and one.id not in self.revoked:
                end_us = one.end_us(sha256)
                return FoundKey(one, None if end_us is None else end_us - self.now_us)
        return None

    async def take_tokens(
        self, owner: str, count: int, *, capacity_us: int, interval_us: int
    ) -> TokenGrant:
        bucket = self.buckets.setdefault(owner, capacity_us // interval_us)
        granted = min(count, bucket)
        self.buckets[owner] -= granted
        return TokenGrant(granted, capacity_us - self.buckets[owner] * interval_us)

    async def touch_key(self, id: str) -> None:
        self.touched.append(id)

    async def schema(self) -> Schema | None:
        self._count_query()
        return self.at

    def _count_query(self) -> None:
        self.queries += 1
        if self.is_unavailable:
            raise StoreUnavailable("gone")

    @property
    def store(self) -> Store:
        return cast("Store", self)


class Clock:
    """Stands still unless a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def services_on(keys: Keys) -> Services:
    return Services(keys.store, NoModel(), {}, RandomIds(), Limits(), "release-7")


@asynccontextmanager
async def web_on(keys: Keys, *, waits: Waits = WAITS, **settings: Any) -> AsyncIterator[Web]:
    async with open_web(services_on(keys), Settings(**settings), waits) as web:
        yield web


def with_routes(web: Web, *routes: BaseRoute) -> Starlette:
    """Return the app with further routes."""
    app = create_app(web)
    app.router.routes.extend(routes)
    return app


@asynccontextmanager
async def asking(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of an app, without a network."""
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 5_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
