"""Liveness, readiness and version."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from twelvefold import __version__
from twelvefold.boot import SCHEMA, commit
from twelvefold.core import Store
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http import json_response
from twelvefold.web.state import web_of

log = get_logger(__name__)
CACHE_TTL_S = 1.0
"""How long a check is valid: the endpoint is public and should not load the database."""
CHECK_TIMEOUT_S = 2.0


async def healthz(request: Request) -> Response:
    """`GET /healthz`: the process answers. Its services are checked by `readyz`."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 if requests can be sent here, else 503 with the reason."""
    web = web_of(request)
    if web.draining.is_set():
        return json_response({"status": "stopping"}, 503, {"retry-after": "1"})
    state = await web.readiness.check()
    body = {
        "status": "ready" if state.ready else "not_ready",
        "database": "answers" if state.answers else "does not answer",
        "schema": state.schema,
        "schema_needed": SCHEMA,
    }
    return json_response(body, 200 if state.ready else 503)


async def version(request: Request) -> Response:
    """`GET /version`: the release, the commit that it was built from, and its schema."""
    release = web_of(request).services.release
    return json_response(
        {
            "name": "twelvefold",
            "version": __version__,
            "commit": commit(),
            "release": release,
            "schema": SCHEMA,
        }
    )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The result of one check; `schema` None: the database has none or does not answer."""

    answers: bool
    schema: str | None
    ready: bool


class Readiness:
    """Checks the database on request; concurrent requests share one check."""

    def __init__(
        self,
        store: Store,
        needed: str,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = CHECK_TIMEOUT_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._store = store
        self._needed = needed
        self._clock = clock
        self._lock = asyncio.Lock()
        self._state: ServiceState | None = None
        self._valid_until = 0.0

    async def check(self) -> ServiceState:
        """Return the state of the database, at most CACHE_TTL_S old."""
        async with self._lock:
            if self._state is None or self._clock() >= self._valid_until:
                state = await self._check_store()
                if self._state is not None and state.ready != self._state.ready:
                    log.warning("readiness_changed", ready=state.ready, schema=state.schema)
                self._state, self._valid_until = state, self._clock() + CACHE_TTL_S
            return self._state

    async def _check_store(self) -> ServiceState:
        try:
            async with asyncio.timeout(self._timeout_s):
                schema = await self._store.schema()
        except (ServiceFault, TimeoutError):
            return ServiceState(answers=False, schema=None, ready=False)
        if schema is None:
            return ServiceState(answers=True, schema=None, ready=False)
        return ServiceState(answers=True, schema=schema.level, ready=schema.fits(self._needed))
