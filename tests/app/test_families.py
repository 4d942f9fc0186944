"""Runs of an app that start runs of other workflows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.app.shop import shop_settings
from tests.engine.family.stories import last_user_text
from twelvefold import App, FanOut, Workflow, tool
from twelvefold.core.ports import ModelRequest
from twelvefold.errors import TooLate
from twelvefold.services.model.scripted import Scripted, ScriptedModel, calls, says


@tool(effect="pure", approval=True)
async def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


billing = Workflow("billing", "billing", (pay,))


@tool(effect="pure")
async def pay_all(amounts: list[int]) -> FanOut:
    """Pay several amounts."""
    return FanOut(billing.task(str(amount)) for amount in amounts)


support = Workflow(
    "support", "support", (billing.as_tool("Pays an amount."), pay_all), children=(billing,)
)


def script(request: ModelRequest) -> Scripted:
    text = last_user_text(request)
    if any(item.get("type") == "function_call_output" for item in request.items):
        return says(f"{request.instructions}: done.")
    if request.instructions == "billing":
        return calls(("pay", {"amount": int(text)}))
    amounts = [int(word) for word in text.split()]
    if len(amounts) == 1:
        return calls(("billing", {"input": text}))
    return calls(("pay_all", {"amounts": amounts}))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    settings, model = shop_settings(tmp_path), ScriptedModel(script)
    async with App([support], settings=settings, model=model) as app:
        yield app


async def test_the_approval_of_a_child_is_given_at_its_root(app: App) -> None:
    run = await app.run("support", "7")

    parent, waiting = run.waiting
    assert (run.status, waiting.tool, waiting.kind) == ("waiting", "pay", "approval")
    assert dict(waiting.arguments) == {"amount": 7}
    assert run.children == (waiting.run,) == parent.runs
    assert (await app.get(run.id)).waiting == run.waiting

    run = await app.resume(run.id, approve=True)

    assert (run.status, run.text, run.waiting) == ("completed", "support: done.", ())
    assert [call.result for call in run.calls] == ["billing: done."]


async def test_each_of_several_children_is_answered_by_its_name(app: App) -> None:
    run = await app.run("support", "7 8")
    first, second = (one for one in run.waiting if one.kind == "approval")

    await app.approve(second.run, call=second.call)
    run = await app.resume(run.id, approve=True)

    assert first.run != second.run
    assert run.status == "completed"
    with pytest.raises(TooLate):
        await app.approve(second.run, call=second.call)
    with pytest.raises(TooLate):
        await app.approve(run.id)


async def test_the_root_takes_the_run_and_the_call_of_a_child(app: App) -> None:
    run = await app.run("support", "7 8")
    first, second = (one for one in run.waiting if one.kind == "approval")

    assert first.call == second.call
    await app.approve(run.id, call=f"{second.run}:{second.call}")

    left = (await app.get(run.id)).waiting
    assert [one.run for one in left if one.kind == "approval"] == [first.run]
    with pytest.raises(TooLate):
        await app.approve(run.id, call=f"{run.id}:{first.call}")


async def test_a_family_is_cancelled_at_its_root(app: App) -> None:
    run = await app.run("support", "7")

    cancelled = await app.cancel(run.id)

    assert cancelled.status == "cancelled"
    assert (await app.get(run.children[0])).status == "cancelled"


async def test_a_workflow_that_is_only_a_tool_cannot_be_run(app: App) -> None:
    with pytest.raises(Exception, match="no workflow 'billing'"):
        await app.run("billing", "7")
