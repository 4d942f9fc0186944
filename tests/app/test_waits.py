"""Questions, events and other arguments, by the methods of an app."""

from pathlib import Path
from typing import Literal

import pytest

from tests.app.shop import REFUND, scripted, shop, shop_settings
from twelvefold import App, Ask, SyncApp, Wait, Workflow, tool
from twelvefold.errors import InvalidAnswer, NotFound
from twelvefold.services.model.scripted import calls, says


@tool(effect="pure")
async def ask_colour() -> Ask:
    """Ask for a colour."""
    return Ask("Which colour?", schema=Literal["red", "blue"])


@tool(effect="pure")
async def await_payment() -> Wait:
    """Wait for the payment."""
    return Wait(event="paid")


desk = Workflow("desk", "Help.", (ask_colour, await_payment))
ASK, AWAIT = calls(("ask_colour", {})), calls(("await_payment", {}))


async def test_a_question_is_answered_and_the_run_resumed(tmp_path: Path) -> None:
    model = scripted(ASK, says("Blue it is."))
    async with App([desk], settings=shop_settings(tmp_path), model=model) as app:
        waiting = await app.run(desk, "hello", principal="ann")
        with pytest.raises(InvalidAnswer, match="green"):
            await app.resume(waiting.id, answer="green")
        with pytest.raises(NotFound, match="no question for bob"):
            await app.answer(waiting.id, "blue", by="bob")
        run = await app.resume(waiting.id, answer="blue", by="ann")

    (call,) = waiting.waiting
    assert (call.kind, call.question, call.event) == ("question", "Which colour?", "")
    assert (run.status, run.text) == ("completed", "Blue it is.")
    assert [one.result for one in run.calls] == ['"blue"']


async def test_an_event_continues_a_run(tmp_path: Path) -> None:
    model = scripted(AWAIT, says("Thanks."))
    async with App([desk], settings=shop_settings(tmp_path), model=model) as app:
        waiting = await app.run(desk, "hello", principal="ann")
        sent = [
            await app.signal("paid", {"amount": 12}, workflow=desk, principal="ann")
            for _ in range(2)
        ]
        run = await app.resume(waiting.id)

    (call,) = waiting.waiting
    assert (call.kind, call.event) == ("event", "paid")
    assert sent == [True, False]
    assert [one.result for one in run.calls] == ['{"amount":12}']


async def test_a_call_is_approved_with_other_arguments(tmp_path: Path) -> None:
    model = scripted(REFUND, says("Refunded."))
    async with App([shop], settings=shop_settings(tmp_path), model=model) as app:
        waiting = await app.run(shop, "refund it")
        queued = await app.approve(waiting.id, by="boss", arguments={"item": "cake"})
        run = await app.resume(queued.id)

    assert run.calls[0].result == "0 refunded"


def test_the_sync_app_answers_and_sends_events(tmp_path: Path) -> None:
    model = scripted(ASK, AWAIT, says("Thanks."))
    with SyncApp([desk], settings=shop_settings(tmp_path), model=model) as app:
        run = app.run(desk, "hello", principal="ann")
        assert app.answer(run.id, "red").status == "queued"
        assert app.resume(run.id).status == "waiting"
        assert app.signal("paid", workflow="desk", principal="ann")
        run = app.resume(run.id)

    assert run.text == "Thanks."
