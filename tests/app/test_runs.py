"""Runs of an app: start, continue, answer, settle, cancel and read them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.app.shop import BUY, REFUND, Blocking, OpenApp, scripted, shop, shop_settings
from twelvefold import App, Resource, SyncApp, Workflow, tool
from twelvefold.core import NullListener, Principal
from twelvefold.engine import RunRequest, start_run
from twelvefold.engine.step import step
from twelvefold.errors import (
    AppClosed,
    Conflict,
    ModelUnavailable,
    NotFound,
    RequestError,
    SettingsError,
    TooLate,
    WorkflowError,
)
from twelvefold.services.model.scripted import calls, says
from twelvefold.testing import SyncTestApp, TestApp


async def rows(app: App) -> list[dict[str, Any]]:
    async with app.session.services.store.read() as db:
        return await db.fetch_all("select item, who from bought")


async def test_a_run_is_driven_until_it_is_over(open_app: OpenApp) -> None:
    app = await open_app(BUY, says("Bread is bought."))

    run = await app.run(shop, "bread, please", principal="ann")

    assert (run.workflow, run.principal, run.status) == ("shop", "ann", "completed")
    assert run.text == "Bread is bought."
    assert run.is_over
    assert run.usage.total_tokens > 0
    assert [(call.tool, call.arguments, call.result) for call in run.calls] == [
        ("buy", {"item": "bread"}, "bread is bought")
    ]
    assert run.conversation.removeprefix("conv_") in run.id
    assert await rows(app) == [{"item": "bread", "who": "ann"}]
    assert await app.get(run.id) == run


async def test_a_conversation_continues_at_its_end(open_app: OpenApp) -> None:
    app = await open_app(says("Hello."), says("Again."))
    first = await app.run("shop", "hello")

    second = await app.run("shop", "hello again", conversation=first.conversation)

    assert (second.conversation, second.text) == (first.conversation, "Again.")
    assert (await app.get(first.id)).text == "Hello."


async def test_a_turn_after_an_earlier_run_is_on_a_fork(open_app: OpenApp) -> None:
    app = await open_app(says("one"), says("two"), says("three"))
    first = await app.run("shop", "1")
    second = await app.run("shop", "2", previous=first.id)

    third = await app.run("shop", "3", previous=first.id)

    assert second.conversation == first.conversation
    assert third.conversation != first.conversation
    assert (await app.get(third.id)).text == "three"


async def test_a_repeated_key_returns_the_same_run(open_app: OpenApp) -> None:
    app = await open_app(BUY, says("Done."))
    first = await app.run(shop, "bread", key="order-1")

    again = await app.run(shop, "bread", key="order-1")

    assert again == first
    assert len(await rows(app)) == 1
    with pytest.raises(RequestError, match="used for another request"):
        await app.run(shop, "cake", key="order-1")


@pytest.mark.parametrize("place", ["conversation", "previous"])
async def test_a_repeated_turn_of_a_conversation_is_the_same_run(
    open_app: OpenApp, place: str
) -> None:
    app = await open_app(says("One."), says("Two."))
    first = await app.run(shop, "hi")
    at: Any = {place: first.conversation if place == "conversation" else first.id}
    begun = await app.start(shop, "more", key="k", **at)

    assert (await app.start(shop, "more", key="k", **at)).id == begun.id
    done = await app.run(shop, "more", key="k", **at)
    assert (done.id, done.text) == (begun.id, "Two.")
    assert await app.run(shop, "more", key="k", **at) == done


async def test_another_turn_of_a_conversation_that_is_not_over_is_a_conflict(
    open_app: OpenApp,
) -> None:
    app = await open_app(says("One."))
    first = await app.run(shop, "hi")
    await app.start(shop, "more", key="k", conversation=first.conversation)

    for key in ("", "other"):
        with pytest.raises(Conflict):
            await app.start(shop, "more", key=key, conversation=first.conversation)
    with pytest.raises(RequestError, match="another request"):
        await app.start(shop, "less", key="k", conversation=first.conversation)


async def test_a_started_run_waits_for_a_process_and_its_key_finds_it(open_app: OpenApp) -> None:
    app = await open_app(says("Done."))

    started = await app.start(shop, "bread", key="a", metadata={"order": "7"})

    assert (started.status, started.text) == ("queued", "")
    assert (await app.start(shop, "bread", key="a", metadata={"order": "7"})).id == started.id
    assert (await app.resume(started.id)).text == "Done."


async def test_a_run_waits_for_an_approval_and_resumes(open_app: OpenApp) -> None:
    app = await open_app(BUY, REFUND, says("Refunded."))

    waiting = await app.run(shop, "bread, and refund it")
    unchanged = await app.resume(waiting.id)
    run = await app.resume(waiting.id, approve=True, by="boss")

    (call,) = waiting.waiting
    assert (call.tool, call.arguments, call.kind) == ("refund", {"item": "bread"}, "approval")
    assert unchanged == waiting
    assert (run.status, run.text, run.waiting) == ("completed", "Refunded.", ())
    assert [call.result for call in run.calls] == ["bread is bought", "1 refunded"]
    with pytest.raises(TooLate):
        await app.resume(waiting.id, approve=True)


async def test_a_call_has_the_arguments_with_which_it_was_approved(open_app: OpenApp) -> None:
    app = await open_app(BUY, REFUND, says("Refunded."))
    waiting = await app.run(shop, "bread, and refund it", key="a")

    run = await app.resume(waiting.id, approve=True, arguments={"item": "milk"})

    assert [(call.tool, call.arguments) for call in run.calls] == [
        ("buy", {"item": "bread"}),
        ("refund", {"item": "milk"}),
    ]
    events = [event async for event in app.stream(shop, "bread, and refund it", key="a")]
    finished = [event.call for event in events if event.kind == "tool_finished"]
    assert [(call.id, call.arguments) for call in finished] == [
        (call.id, call.arguments) for call in run.calls
    ]


async def test_an_approval_is_denied_and_the_run_left_to_any_process(open_app: OpenApp) -> None:
    app = await open_app(REFUND, says("Sorry."))
    waiting = await app.run(shop, "refund it")

    denied = await app.approve(waiting.id, by="boss", approved=False, reason="too late")

    assert denied.status == "queued"
    run = await app.resume(waiting.id)
    assert run.text == "Sorry."
    assert [(call.failure, call.result) for call in run.calls] == [
        ("denied", "Error: not allowed by boss: too late")
    ]


async def test_a_failed_call_has_its_failure_and_what_the_model_read(open_app: OpenApp) -> None:
    app = await open_app(calls(("buy", {"item": "gold"}), ("buy", "{")), says("No gold."))

    run = await app.run(shop, "gold")

    refused, malformed = run.calls
    assert (refused.failure, refused.result) == (
        "refused",
        "Error: there is no gold; ask for bread",
    )
    assert (malformed.failure, malformed.arguments) == ("arguments", {})


async def test_a_run_of_another_principal_is_not_found(open_app: OpenApp) -> None:
    app = await open_app(REFUND)
    run = await app.run(shop, "refund it", principal="ann")

    assert (await app.get(run.id, principal="ann")).id == run.id
    for call in (
        app.get(run.id, principal="bob"),
        app.cancel(run.id, principal="bob"),
        app.approve(run.id, principal="bob"),
        app.settle(run.id, "done", principal="bob"),
        app.resume(run.id, approve=True, principal="bob"),
        app.run(shop, "go on", previous=run.id, principal="bob"),
        app.get("resp_0"),
    ):
        with pytest.raises(NotFound):
            await call


async def test_a_turn_needs_a_finished_run_before_it(open_app: OpenApp) -> None:
    app = await open_app(REFUND)
    run = await app.run(shop, "refund it")

    with pytest.raises(Conflict, match="not over"):
        await app.run(shop, "go on", previous=run.id)
    with pytest.raises(RequestError, match="not both"):
        await app.run(shop, "go on", previous=run.id, conversation=run.conversation)


async def test_requests_that_are_invalid(open_app: OpenApp) -> None:
    app = await open_app()
    other = Workflow("shop", "Another shop.", ())

    for workflow, input, problem in (
        ("shops", "hi", "no workflow 'shops'"),
        (other, "hi", "without this workflow"),
        (shop, "", "message is empty"),
        (shop, [], "input is empty"),
    ):
        with pytest.raises(RequestError, match=problem):
            await app.run(workflow, input)
    with pytest.raises(RequestError, match=r"metadata\.n: must be a string"):
        await app.run(shop, "hi", metadata={"n": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("workflows", [shop, "shop", [shop, "bank"], None])
def test_an_app_takes_a_list_of_workflows(workflows: Any) -> None:
    for kind in (App, SyncApp, TestApp, SyncTestApp):
        with pytest.raises(WorkflowError, match=r"an app takes a list of workflows, as in App\(\["):
            kind(workflows)


def test_two_workflows_of_one_name_are_an_error() -> None:
    with pytest.raises(WorkflowError, match="a name of its own"):
        App([shop, shop])


async def test_a_waiting_run_is_cancelled(open_app: OpenApp) -> None:
    app = await open_app(REFUND)
    run = await app.run(shop, "refund it")

    cancelled = await app.cancel(run.id)

    assert (cancelled.status, cancelled.waiting) == ("cancelled", ())
    assert (await app.cancel(run.id)) == cancelled


async def test_cancelling_a_run_ends_the_call_that_drives_it(open_app: OpenApp) -> None:
    model = Blocking()
    app = await open_app(model=model)
    running = asyncio.get_running_loop().create_task(app.run(shop, "hi", key="k"))
    await model.is_asked.wait()
    id = (await app.start(shop, "hi", key="k")).id

    cancelled = await app.cancel(id)

    assert cancelled.status == "cancelled"
    assert (await running).status == "cancelled"


async def test_cancelling_the_task_gives_the_run_back(open_app: OpenApp) -> None:
    model = Blocking()
    app = await open_app(model=model)
    running = asyncio.get_running_loop().create_task(app.run(shop, "hi", key="k"))
    await model.is_asked.wait()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    model.may_reply.set()
    run = await app.run(shop, "hi", key="k")
    assert (run.status, run.text) == ("completed", "At last.")


async def test_closing_the_app_gives_its_runs_back(open_app: OpenApp) -> None:
    model = Blocking()
    first, second = await open_app(model=model), await open_app(says("At last."))
    running = asyncio.get_running_loop().create_task(first.run(shop, "hi", key="k"))
    await model.is_asked.wait()
    id = (await second.start(shop, "hi", key="k")).id

    await first.close()

    with pytest.raises(AppClosed, match="given back"):
        await running
    assert (await second.get(id)).status == "queued"
    assert (await second.resume(id)).text == "At last."
    with pytest.raises(AppClosed, match="not open"):
        await first.get(id)


async def test_a_run_of_another_process_is_followed_to_its_end(open_app: OpenApp) -> None:
    model = Blocking()
    first, second = await open_app(model=model), await open_app()
    running = asyncio.get_running_loop().create_task(first.run(shop, "hi", key="k"))
    await model.is_asked.wait()
    following = asyncio.get_running_loop().create_task(second.run(shop, "hi", key="k"))
    await asyncio.sleep(0.05)

    model.may_reply.set()

    assert await following == await running


async def test_a_fault_of_a_service_gives_the_run_back(open_app: OpenApp) -> None:
    app = await open_app(ModelUnavailable("the model is out"), says("Here again."))

    run = await app.run(shop, "hi")

    assert (run.status, run.error) == ("queued", "the model is out")
    assert await app.get(run.id) == run
    assert (await app.resume(run.id)).text == "Here again."


async def test_an_app_opens_again_after_it_was_closed(open_app: OpenApp) -> None:
    app = await open_app(says("one"), says("two"))
    first = await app.run(shop, "1")
    with pytest.raises(AppClosed, match="open already"):
        await app.open()

    await app.close()
    await app.close()
    await app.open()

    assert (await app.get(first.id)).text == "one"


async def test_a_person_settles_a_call_with_an_unknown_outcome(open_app: OpenApp) -> None:
    app = await open_app(calls(("ring", {"times": 2})), says("It rang."))
    run = await interrupted_during_the_call(app)

    waiting = await app.resume(run)

    assert [(one.tool, one.kind) for one in waiting.waiting] == [("ring", "outcome")]
    settled = await app.settle(run, "done", by="boss", result="dingding")
    assert [(one.result, one.failure) for one in settled.calls] == [("dingding", "")]
    assert (await app.resume(run)).text == "It rang."


async def interrupted_during_the_call(app: App) -> str:
    """Return a run whose process died while it called an unsafe tool."""
    services = app.session.services
    message = {"type": "message", "role": "user", "content": "ring"}
    held = await start_run(services, RunRequest("shop", Principal("ann"), [message]))
    held = await step(services, held, shop, NullListener())  # the call is in the journal
    await services.store.release(held.lease, in_doubt=True)
    return str(held.run)


@dataclass(frozen=True)
class Booking:
    seat: str


async def test_a_run_has_the_typed_output_of_its_workflow(tmp_path: Path) -> None:
    booking = Workflow("booking", "Book a seat.", output=Booking)
    model = scripted(says('{"place": 1}'), says('{"seat": "12A"}'), says("no JSON"))
    settings = shop_settings(tmp_path)

    async with App([booking], settings=settings, model=model) as app:
        events = [event async for event in app.stream(booking, "a seat")]
        last = events[-1]
        assert last.kind == "finished"
        run = last.run
        again = await app.get(run.id)
        failed = await app.run(booking, "another")

    assert run.output == again.output == Booking("12A")
    assert [event.text for event in events if event.kind == "text"] == ['{"seat": "12A"}']
    assert (failed.status, failed.output, failed.text) == ("failed", None, "")
    async with App([], settings=settings, model=model) as other:
        assert (await other.get(run.id)).output is None


class Bell:
    def __init__(self, sound: str) -> None:
        self.sound = sound


@tool(effect="pure")
async def strike(bell: Resource[Bell]) -> str:
    """Strike the bell."""
    return bell.sound


async def test_a_test_replaces_the_resources_of_a_workflow(tmp_path: Path) -> None:
    tower = Workflow("tower", "Strike the bell.", (strike,))
    model = scripted(calls(("strike", {})), says("Done."))
    settings = shop_settings(tmp_path)

    with pytest.raises(SettingsError, match="Bell"):
        await App([tower], settings=settings, model=model).open()
    async with App([tower], settings=settings, model=model, resources={Bell: Bell("ding")}) as app:
        run = await app.run(tower, "strike")

    assert [call.result for call in run.calls] == ["ding"]
