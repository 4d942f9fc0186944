"""Runs that start other runs: an app drives them too, and a person answers at the first run."""

from pathlib import Path

from tests.app.shop import REFUND, shop, shop_settings
from twelvefold import App, Workflow
from twelvefold.core import Listener, ModelReply, ModelRequest, Usage
from twelvefold.services.model.scripted import calls, says

desk = Workflow("desk", "You pass questions on.", (shop.as_tool("Ask the shop."),))


class TwoModels:
    """The desk asks the shop once; the shop refunds once."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        is_shop = any(tool.name == "refund" for tool in request.tools)
        has_result = request.items[-1]["type"] == "function_call_output"
        first = REFUND if is_shop else calls(("shop", {"input": "refund the bread"}))
        last = says("Refunded." if is_shop else "The shop has refunded it.")
        items = last if has_result else [{**first[0], "call_id": "call_1"}]
        return ModelReply(tuple(items), Usage(1, 1), "two", "0" * 64)

    async def close(self) -> None:
        """Nothing is open."""


async def test_an_app_drives_the_runs_that_a_run_starts(tmp_path: Path) -> None:
    async with App([desk], settings=shop_settings(tmp_path), model=TwoModels()) as app:
        waiting = await app.run(desk, "refund the bread", principal="ann")
        (child,) = waiting.children
        run = await app.resume(waiting.id, approve=True, by="boss")
        below = await app.get(child)

    assert [(one.kind, one.run) for one in waiting.waiting] == [
        ("children", waiting.id),
        ("approval", child),
    ]
    assert waiting.waiting[0].runs == (child,)
    assert (run.status, run.text) == ("completed", "The shop has refunded it.")
    assert (below.workflow, below.text) == ("shop", "Refunded.")


async def test_an_answer_for_a_run_below_is_left_to_any_process(tmp_path: Path) -> None:
    async with App([desk], settings=shop_settings(tmp_path), model=TwoModels()) as app:
        waiting = await app.run(desk, "refund the bread")
        await app.approve(waiting.id, approved=False, by="boss")
        await app.work(until_idle=True)
        run = await app.get(waiting.id)

    assert run.status == "completed"
