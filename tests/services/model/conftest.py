"""Restricts the tests of models to loopback connections."""

import ipaddress
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.loop_clock import LoopClock
from tests.services.model.mock_server import MockServer

_guarded = False


def _check_connection(event: str, args: tuple[Any, ...]) -> None:
    if not _guarded or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    target = args[1] if event == "socket.connect" else args
    if isinstance(target, tuple) and not _is_loopback(target[0]):
        raise RuntimeError(f"a test tried to reach {target[0]}; only loopback is allowed")


def _is_loopback(host: Any) -> bool:
    try:
        return host in (None, "", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(_check_connection)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    global _guarded
    _guarded = True
    yield
    _guarded = False


@pytest.fixture
async def loop_clock() -> LoopClock:
    return LoopClock()


@pytest.fixture
async def server() -> AsyncIterator[MockServer]:
    async with MockServer() as server:
        yield server
