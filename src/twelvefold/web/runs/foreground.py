"""Waiting for a run on behalf of its client, and ending it if it is not kept."""

import asyncio
from contextlib import aclosing

from starlette.requests import ClientDisconnect

from twelvefold.core.ids import RunId
from twelvefold.engine.commands import cancel
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger
from twelvefold.web.http.client_watch import ClientWatch
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.create import StartedRun
from twelvefold.web.schemas.responses import Request as TurnRequest
from twelvefold.web.state import Web
from twelvefold.web.streaming.sse import Leave, stay

log = get_logger(__name__)


def leaving(web: Web, begun: StartedRun, asked: TurnRequest) -> Leave:
    """What is to be done if the client goes away: nobody could ever see what was not to be kept.

    Nor can it come back for that to another process: here it is read to its end. Who sends a key
    means to ask again.
    """
    reading = begun.reading
    if asked.key or not begun.unseen_elsewhere:
        return stay
    reading.to_the_end = True

    async def leave() -> None:
        log.info("client_gone", response=str(reading.id), kept=False)
        try:
            await cancelled(web, reading.id.run)
        except ServiceFault as error:
            log.warning("run_not_cancelled", run=str(reading.id.run), error=error)

    return leave


async def until_over(web: Web, begun: StartedRun, client: ClientWatch, leave: Leave = stay) -> None:
    """Wait for the response's end, or for the process's, as long as the client does.

    When it does not, `leave` is done. Raises ClientDisconnect then, or ApiError if its key was
    revoked.
    """
    try:
        await client.wait_for(_read_to_end(web, begun))
    except (ClientDisconnect, ApiError):
        await leave()
        raise


async def _read_to_end(web: Web, begun: StartedRun) -> None:
    # What happens here need not be read until it is over.
    while task := web.executor.task(begun.run):
        await asyncio.wait([task])
    async with aclosing(begun.reading.events(begun.ensure_progress)) as events:
        async for _ in events:
            pass


async def cancelled(web: Web, run: RunId) -> None:
    """Cancel a run; a process that drives it hears of it when it looks, this one at once.

    Raises NotFound.
    """
    await cancel(web.services, run)
    web.executor.stop(run)
    web.news.notify(run)
