"""The carrier's tracking service, over HTTP. One client serves all runs of a process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from aiohttp import ClientSession, ClientTimeout


class UnknownParcel(Exception):
    """The carrier has no parcel of this number."""


@runtime_checkable
class Carrier(Protocol):
    """A carrier, as the tools use it. A test passes an object that makes no request."""

    async def find(self, parcel: str) -> str:
        """Return where a parcel is. Raises UnknownParcel."""
        ...


class HTTPCarrier:
    """A carrier with a service at the base URL of its client."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client

    async def find(self, parcel: str) -> str:
        """Return where a parcel is. Raises UnknownParcel and aiohttp.ClientError."""
        async with self._client.get("/parcels", params={"number": parcel}) as response:
            if response.status == 404:
                raise UnknownParcel(parcel)
            response.raise_for_status()
            return await response.text()


def carrier_url() -> str:
    """Return the base URL of the service."""
    return os.environ.get("CARRIER_URL", "http://127.0.0.1:8099")


@asynccontextmanager
async def open_carrier() -> AsyncIterator[Carrier]:
    """Open a client of the service, and close it with the process."""
    async with ClientSession(carrier_url(), timeout=ClientTimeout(total=10)) as client:
        yield HTTPCarrier(client)
