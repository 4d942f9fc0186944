"""Streamed runs, and a model that sends its text in pieces."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tests.builders import HASH, SPENT, assistant
from tests.engine.leases import until
from tests.engine.stage import (
    Stage,
    resume,
    start,
)
from twelvefold.core.events import Item, ModelReplied, RequestOptions
from twelvefold.core.ids import RunId
from twelvefold.core.ports import Delta, Listener, ModelReply, ModelRequest, NullListener
from twelvefold.engine.delta_writer import DeltaWriter
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun

STREAMED = RequestOptions(stream=True)


Act = str | Callable[[Listener], Awaitable[None] | None]


class StreamingModel:
    """A model that sends its text in pieces, and does other things in between."""

    def __init__(self, *acts: Act, reply: Sequence[Item] | None = None) -> None:
        self._acts = acts
        self._reply = reply

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        for act in self._acts:
            if isinstance(act, str):
                listener.text(act)
            elif (waiting := act(listener)) is not None:
                await waiting
        text = "".join(act for act in self._acts if isinstance(act, str))
        reply = [assistant(text)] if self._reply is None else self._reply
        return ModelReply(tuple(reply), SPENT, "m-1", HASH)

    async def close(self) -> None:
        """Nothing is open."""


async def a_moment(listener: Listener) -> None:
    """Wait until the text is written, if this writer writes it soon."""
    await asyncio.sleep(0)
    if isinstance(listener, DeltaWriter):  # else the run is not streamed
        await until(lambda: not _writes_soon(listener))


def _writes_soon(writer: DeltaWriter) -> bool:
    if writer._fault or (writer._writer and writer._writer.done()):  # its process has died
        return False
    if writer._timer and writer._timer.when() > asyncio.get_running_loop().time() + 1:
        return False
    return bool(writer._attempt.unwritten or writer._writer or writer._timer)


def restart(listener: Listener) -> None:
    listener.restarted("the connection broke")


async def start_streamed(stage: Stage) -> HeldRun:
    return await start(stage.process(), options=STREAMED)


async def drive_streamed(stage: Stage, *acts: Act, reply: Sequence[Item] | None = None) -> Outcome:
    """Drive a new streamed run until it rests."""
    services = stage.process(model=StreamingModel(*acts, reply=reply))
    return await drive(services, await start(services, options=STREAMED), NullListener())


async def take_over(
    stage: Stage, run: RunId, *acts: Act, reply: Sequence[Item] | None = None
) -> Outcome:
    """Drive the run in another process until it rests."""
    await stage.let_leases_run_out()
    return await resume(stage.process(model=StreamingModel(*acts, reply=reply)), run)


async def reply_of(stage: Stage, run: RunId) -> ModelReplied:
    (reply,) = (one for one in await stage.journal(run) if isinstance(one, ModelReplied))
    return reply


async def deltas(stage: Stage, run: RunId) -> list[Delta]:
    """Return the deltas that are left beside the journal."""
    journal = await stage.process().store.follow(run.thread, after=9, deltas_after=(0, 0))
    return list(journal.deltas)


def text(number: int, text: str) -> Delta:
    return Delta(2, number, "text", text)


def restarted(number: int) -> Delta:
    return Delta(2, number, "restarted")
