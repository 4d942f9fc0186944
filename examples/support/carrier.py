"""The carrier's service, over HTTP. One client serves all runs of a process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp


class Carrier:
    """The carrier's service. Tests pass a subclass that makes no request."""

    def __init__(self, session: aiohttp.ClientSession | None = None) -> None:
        self._session = session

    async def status(self, parcel: str) -> str:
        """Return where a parcel is. Raises aiohttp.ClientError."""
        assert self._session is not None
        async with self._session.get("/parcels", params={"number": parcel}) as response:
            response.raise_for_status()
            return await response.text()


@asynccontextmanager
async def open_carrier() -> AsyncIterator[Carrier]:
    """Open the client of the service at CARRIER_URL, and close it at the end of the process."""
    url = os.environ.get("CARRIER_URL", "http://127.0.0.1:8099")
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        yield Carrier(session)
