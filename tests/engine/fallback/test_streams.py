"""Text that was published before a fallback, and processes that are killed around one."""

import asyncio

import pytest

from tests.builders import SPENT
from tests.engine.fallback.stories import PAID, BreaksOff, Slow, Talks, process_with, replies
from tests.engine.reading import Reader, read_events
from tests.engine.stage import Crash, RecordingListener, Stage, Trouble, kill, resume, start
from twelvefold.core.events import ModelAttempt, RequestOptions, Usage
from twelvefold.core.models import Fallback
from twelvefold.core.ports import Listener, Model, ModelReply, ModelRequest, NullListener
from twelvefold.engine.drive import drive
from twelvefold.services.model.scripted import ScriptedModel, in_turn, says

CHAIN = Fallback("fast", "careful")
TIMED = Fallback("fast", "careful", after_s=0.2)
STREAMED = RequestOptions(stream=True)
BROKE_OFF = ModelAttempt("fast", "it broke off", PAID)


def shown(events: list[tuple[object, ...]]) -> str:
    """Return the text that a reader shows in the end."""
    pieces: list[str] = []
    for event in events:
        if event[0] == "text":
            pieces.append(str(event[3]))
        elif event[0] == "given up":
            pieces.clear()
    return "".join(pieces)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fast", [Slow("I will ", "not "), BreaksOff("I will ", "not ")])
async def test_text_before_a_fallback_is_void(
    stage: Stage, frequent_deltas: None, stream: bool, fast: Model
) -> None:
    services = process_with(stage, TIMED, {"fast": fast, "careful": Talks("Hello ", "Ann.")})
    listener = RecordingListener()
    held = await start(services, options=RequestOptions(stream=stream))

    outcome = await drive(services, held, listener)

    assert outcome.status == "completed"
    assert "".join(listener.texts) == "Hello Ann."
    assert shown(await read_events(stage, held.run)) == "Hello Ann."


class Watched(RecordingListener):
    """A listener that counts how often the text was void."""

    restarts = 0

    def restarted(self, why: str) -> None:
        self.restarts += 1
        super().restarted(why)


class Restarting(BreaksOff):
    """A model that voids its text itself before it fails."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        listener.text("I will ")
        listener.restarted("the connection broke")
        return await super().reply(request, listener)


async def test_text_that_the_model_has_voided_is_not_voided_again(stage: Stage) -> None:
    services = process_with(stage, CHAIN, {"fast": Restarting(), "careful": Talks("Hello.")})
    listener = Watched()

    await drive(services, await start(services), listener)

    assert (listener.restarts, listener.texts) == (1, ["Hello."])


class DiesWhenRead(Talks):
    """A model whose process dies when a reader shows its first text."""

    reader: Reader

    def __init__(self, text: str, trouble: Trouble) -> None:
        super().__init__(text)
        self._text, self._when_read = text, trouble

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        listener.text(self._text)
        while shown(self.reader.events) != self._text:
            await asyncio.sleep(0.001)
            await self.reader.look()
        self._when_read.die()
        raise AssertionError("the process lives")


async def test_a_process_that_is_killed_after_a_fallback_loses_no_usage(
    stage: Stage, frequent_deltas: None
) -> None:
    trouble = Trouble()
    careful, fast = DiesWhenRead("Hello ", trouble), BreaksOff("I will ", pause_s=0.02)
    first = process_with(stage, CHAIN, {"fast": fast, "careful": careful}, trouble=trouble)
    held = await start(first, options=STREAMED)
    live = careful.reader = Reader(stage.process().store, held.run.thread)
    with pytest.raises(Crash):
        await drive(first, held, NullListener())

    await stage.let_leases_run_out()
    second = process_with(stage, CHAIN, {"fast": fast, "careful": Talks("Hello ", "Ann.")})
    outcome = await resume(second, held.run)

    await live.look()
    assert outcome.status == "completed"
    assert shown(live.events) == shown(await read_events(stage, held.run)) == "Hello Ann."
    (reply,) = await replies(stage, held.run)
    assert reply.attempts == (BROKE_OFF,)
    assert (await stage.record(held.run)).usage == PAID + PAID + SPENT


@pytest.mark.parametrize("at", range(1, 21))
async def test_a_kill_at_any_place_doubles_no_text_and_loses_no_usage(
    stage: Stage, frequent_deltas: None, at: int
) -> None:
    trouble = Trouble(kill, at=at)
    fast, careful = BreaksOff("I ", "will ", pause_s=0.004), Talks("Hello ", "Ann.", pause_s=0.004)
    held = await start(process_with(stage, CHAIN, {}), options=STREAMED)
    live = Reader(stage.process().store, held.run.thread)
    await stage.let_leases_run_out()
    models: dict[str, Model] = {"fast": fast, "careful": careful}
    first = process_with(stage, CHAIN, models, trouble=trouble)
    try:
        await resume(first, held.run)
    except Crash:
        recorded = (await stage.record(held.run)).usage
        assert recorded in (Usage(), PAID, PAID + SPENT)
    else:
        assert at > 4
        recorded = Usage()
    await live.look()

    await stage.let_leases_run_out()
    if (await stage.record(held.run)).status != "completed":
        await resume(process_with(stage, CHAIN, models), held.run)
        expected = recorded + PAID + SPENT
        assert (await stage.record(held.run)).usage == expected

    await live.look()
    assert shown(live.events) == shown(await read_events(stage, held.run)) == "Hello Ann."
    (reply,) = await replies(stage, held.run)
    assert reply.attempts == (BROKE_OFF,)


async def test_a_process_that_lost_its_run_asks_no_other_model(stage: Stage) -> None:
    careful = ScriptedModel(in_turn(says("Late.")))
    overtaken = BreaksOff("I will ")
    first = process_with(stage, CHAIN, {"fast": overtaken, "careful": careful})
    held = await start(first)
    await stage.let_leases_run_out()
    second = process_with(stage, CHAIN, {"fast": Talks("Hello."), "careful": []})
    await resume(second, held.run)

    outcome = await drive(first, held, NullListener())

    assert outcome.status == "completed"
    assert careful.requests == []
