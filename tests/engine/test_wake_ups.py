"""Which commits wake a worker: those that queue a run for any process, or mail."""

from dataclasses import replace

import pytest

from tests.builders import user
from tests.engine.stage import ANN, Stage
from tests.wake_ups import MAIL, FakeWakeUps
from twelvefold.core.ports import NoWakeUps, NullListener, Transaction
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.commands import RunRequest, answer, enqueue_run, start_run, take
from twelvefold.engine.commands.claim import give_back
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import ModelUnavailable, StoreRefused
from twelvefold.services.model.scripted import ScriptedModel, calls, in_turn, says


@tool
async def write_to(tx: Transaction, name: str) -> str:
    """Write a mail."""
    await tx.send_mail(f"{name}@example.org", "Hello", "Hello")
    return "sent soon"


def with_wake_ups(services: Services) -> tuple[Services, FakeWakeUps]:
    return replace(services, wake_ups=(wake_ups := FakeWakeUps())), wake_ups


def request(text: str = "a lamp, please", workflow: str = "shop") -> RunRequest:
    return RunRequest(workflow=workflow, principal=ANN, items=[user(text)])


async def test_a_queued_run_wakes_a_worker_of_its_workflow(stage: Stage) -> None:
    services, wake_ups = with_wake_ups(stage.process())

    await enqueue_run(services, request())

    assert wake_ups.sent == ["shop"]


async def test_a_run_that_is_not_written_wakes_no_worker(stage: Stage) -> None:
    services, wake_ups = with_wake_ups(stage.process())
    services.store.start = _refuse  # type: ignore[method-assign, assignment]

    with pytest.raises(StoreRefused):
        await enqueue_run(services, request())

    assert wake_ups.sent == []


async def _refuse(*_: object) -> None:
    raise StoreRefused("no")


async def test_a_run_that_is_driven_to_its_end_wakes_none(stage: Stage) -> None:
    services, wake_ups = with_wake_ups(stage.process(says("There you are.")))

    await drive(services, await start_run(services, request()), NullListener())

    assert wake_ups.sent == []


async def test_a_run_that_is_given_back_wakes_another_worker(stage: Stage) -> None:
    model = ScriptedModel(in_turn(ModelUnavailable("away")))
    services, wake_ups = with_wake_ups(stage.process(model=model))
    held = await start_run(services, request())

    await drive(services, held, NullListener())

    assert wake_ups.sent == ["shop"]


async def test_a_claim_that_is_given_back_wakes_another_worker(stage: Stage) -> None:
    services, wake_ups = with_wake_ups(stage.process())
    run, _ = await enqueue_run(services, request())

    await give_back(services, await take(services, run))

    assert wake_ups.sent == ["shop", "shop"]


@pytest.mark.parametrize(("claims", "sent"), [(False, ["shop"]), (True, [])])
async def test_an_answer_wakes_a_worker_unless_its_process_continues_the_run(
    stage: Stage, claims: bool, sent: list[str]
) -> None:
    services, wake_ups = with_wake_ups(stage.process(calls(("refund", {"item": "a lamp"}))))
    held = await start_run(services, request())
    await drive(services, held, NullListener())

    await answer(services, held.run, approved=True, by="bob", claims=claims)

    assert wake_ups.sent == sent


async def test_a_step_that_sends_mail_wakes_a_sender(stage: Stage) -> None:
    office = Workflow("office", "Write.", (write_to,))
    replies = (calls(("write_to", {"name": "bob"})), says("Done."))
    services, wake_ups = with_wake_ups(stage.process(*replies, workflow=office))

    await drive(services, await start_run(services, request(workflow="office")), NullListener())

    assert wake_ups.sent == [MAIL]


async def test_without_a_broker_nothing_is_sent_and_nothing_arrives() -> None:
    woken: list[bool] = []
    wake_ups = NoWakeUps()
    async with wake_ups.subscribe(["shop"], mail=True, wake=lambda: woken.append(True)) as arriving:
        arriving.settle(0, used=0, room=8)
        wake_ups.run_queued("shop")
        wake_ups.mail_queued()

        assert not arriving.is_connected
        assert arriving.received == 0
    assert not woken
