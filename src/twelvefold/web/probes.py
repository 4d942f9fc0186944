"""Whether the process lives, whether it can work, and which release it is."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from twelvefold import __version__
from twelvefold.boot import SCHEMA, commit
from twelvefold.core.ports import Store
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http.errors import json_response
from twelvefold.web.state import web_of

log = get_logger(__name__)
CACHE_TTL_S = 1.0
"""How long a look counts: anybody may ask, and the database has other work."""
TIMEOUT_S = 2.0


async def healthz(request: Request) -> Response:
    """Alive: the process answers. What it stands on is `readyz`'s to say."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether to send requests here: 200, or 503 with what is missing."""
    web = web_of(request)
    if web.draining.is_set():
        return json_response({"status": "stopping"}, 503, {"retry-after": "1"})
    found = await web.readiness.look()
    answer = {
        "status": "ready" if found.ready else "not_ready",
        "database": "answers" if found.answers else "does not answer",
        "schema": found.schema,
        "schema_needed": SCHEMA,
    }
    return json_response(answer, 200 if found.ready else 503)


async def version(request: Request) -> Response:
    """Which release this is, what it was built of, and which schema it was made for."""
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
class Found:
    """What one look found; `schema` is None where there is none, or nothing answered."""

    answers: bool
    schema: str | None
    ready: bool


class Readiness:
    """Looks when it is asked; requests that come while it looks wait for the same look."""

    def __init__(
        self,
        store: Store,
        needed: str,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._store = store
        self._needed = needed
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: Found | None = None
        self._until = 0.0

    async def look(self) -> Found:
        """What there is, at most a moment old."""
        async with self._lock:
            if self._found is None or self._clock() >= self._until:
                found = await self._looked()
                if self._found is not None and found.ready != self._found.ready:
                    log.warning("readiness_changed", ready=found.ready, schema=found.schema)
                self._found, self._until = found, self._clock() + CACHE_TTL_S
            return self._found

    async def _looked(self) -> Found:
        try:
            async with asyncio.timeout(self._timeout_s):
                schema = await self._store.schema()
        except (ServiceFault, TimeoutError):
            return Found(answers=False, schema=None, ready=False)
        if schema is None:
            return Found(answers=True, schema=None, ready=False)
        return Found(answers=True, schema=schema.level, ready=schema.fits(self._needed))
