"""A plain uvicorn server, as a user runs one, and apps that carry the service."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from uvicorn import Config, Server

from twelvefold import App


class PlainServer(Server):
    """uvicorn without its signal handlers, which belong to the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an app while the body runs, and run its lifespan; yield the URL."""
    server = PlainServer(Config(app, lifespan="on", log_config=None))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve([listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.should_exit = True


def carrier(app: App, path: str = "/agents") -> Starlette:
    """Return an app of a user that has the service below a path and opens it in its lifespan."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app:
            yield

    async def home(_: Request) -> Response:
        return PlainTextResponse("home")

    return Starlette(routes=[Route("/", home), Mount(path, app.asgi())], lifespan=lifespan)
