"""Conversations at the page, with reloads, lost responses and a killed server."""

import json
import re

import pytest
from playwright.async_api import Route, expect

from tests.acceptance.page.conftest import OpenChat
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel
from twelvefold.core.events import Item
from twelvefold.services.model.items import message

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]
FULL_COURSE = "Enrol me in DB-101. If it is full, take whatever is closest."
SEARCH = "I want to learn programming, for less than 250 dollars."


async def test_each_example_of_the_empty_page_works(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await expect(chat.page.locator("#demo")).to_be_visible()
    await chat.take_screenshot("empty")
    examples = await chat.examples.all_inner_texts()

    for example in examples:
        await chat.open()
        await chat.page.get_by_role("button", name=example).click()
        await chat.wait_for_reply()
        await expect(chat.answers.last).to_be_visible()

    assert len(examples) == 3
    codes = [code for (code,) in site.rows("select course_code from enrolments order by 1")]
    assert codes == ["DB-102", "PY-101"]
    await expect(chat.page.locator("#conversations li")).to_have_count(3)


async def test_an_enrolment_shows_each_of_its_steps(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)
    await chat.open()
    model.pause_at = 36
    model.pause()
    await chat.send(FULL_COURSE)
    await expect(chat.answers.last).to_contain_text("You are")
    await expect(chat.step(11)).to_be_visible()
    await chat.calls.nth(2).locator("summary").click()
    await chat.take_screenshot("mid-stream")
    model.resume()
    await chat.wait_for_reply()

    tools = await chat.calls.locator("summary code").all_inner_texts()
    states = [await call.get_attribute("data-status") for call in await chat.calls.all()]
    assert tools == ["get_course", "enrol", "find_alternatives", "enrol", "send_welcome"]
    assert states == ["completed", "failed", "completed", "completed", "completed"]
    await expect(chat.answers.last).to_contain_text("You are enrolled in DB-102-A")
    await expect(chat.calls.nth(1)).to_contain_text("refused")
    await expect(chat.calls.nth(3)).to_contain_text("written")
    await expect(chat.calls.nth(2).locator("th").first).to_have_text("section")
    await expect(chat.steps).to_have_count(13)
    await expect(chat.page.locator("#totals")).to_have_text(re.compile(r"13 steps · [\d,]+ tok"))
    await chat.step(5).locator("summary").click()
    await expect(chat.step(5)).to_contain_text("DB-101 is full; find_alternatives")
    assert len(slow_site.rows("select 1 from enrolments")) == 1


async def test_a_call_is_allowed_on_the_page(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send("Refund 25 to: A-17")
    await expect(chat.page.get_by_role("group", name="Allow refund?")).to_be_visible()
    await expect(chat.page.locator("#hint")).to_have_text("Allow or deny the request above first.")
    await expect(chat.page.locator("#conversations li")).to_contain_text("Waiting")
    await chat.take_screenshot("approval")
    await chat.page.reload()
    await chat.page.get_by_role("button", name="Allow").click()
    await chat.wait_for_reply()

    await expect(chat.page.locator(".decision")).to_have_text("Allowed.")
    await expect(chat.answers.last).to_contain_text('{"refunded":"A-17"')
    await expect(chat.calls).to_have_attribute("data-status", "completed")
    await expect(chat.page.locator("#hint")).to_be_empty()
    await expect(chat.steps.filter(has_text="Allowed")).to_contain_text("by local")


async def test_a_denied_call_shows_the_reason(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send("Refund 25 to: A-17")
    await chat.page.get_by_label("Reason for denial").fill("not before Monday")
    await chat.page.get_by_role("button", name="Deny").click()
    await chat.wait_for_reply()

    await expect(chat.page.locator(".decision")).to_have_text("Denied. “not before Monday”")
    await expect(chat.answers.last).to_contain_text("not allowed by local: not before Monday")
    await chat.page.reload()
    await expect(chat.page.locator(".decision")).to_have_text("Denied. “not before Monday”")


async def test_a_second_answer_shows_the_first(site: Site, open_chat: OpenChat) -> None:
    first = await open_chat(site)
    await first.open()
    await first.choose_workflow("refunds")
    await first.send("Refund 25 to: A-17")
    await expect(first.page.locator(".approval form")).to_be_visible()
    second = await open_chat(site)
    await second.page.goto(first.page.url)
    await expect(second.page.locator(".approval form")).to_be_visible()
    await first.page.get_by_role("button", name="Allow").click()
    await first.wait_for_reply()
    await second.page.get_by_role("button", name="Deny").click()

    await expect(second.page.locator(".decision")).to_have_text("Allowed.")
    await expect(second.calls).to_have_count(1)
    await expect(second.page.locator("#error")).to_be_hidden()


async def test_a_reload_during_a_stream_loses_nothing(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)
    await chat.open()
    model.pause()
    await chat.send(SEARCH)
    await expect(chat.answers.last).to_contain_text("PY-")
    shown = await chat.answers.last.inner_text()
    await chat.page.reload()
    # There may be more by now: the model pauses one or two deltas later.
    await expect(chat.answers).to_contain_text(shown.rstrip(), use_inner_text=True)
    await expect(chat.button).to_have_text("Stop")
    model.resume()
    await chat.wait_for_reply()

    await expect(chat.answers).to_have_count(1)
    await expect(chat.answers).to_contain_text("Tell me a code")
    await expect(chat.page.locator(".message.user")).to_have_text(f"You: {SEARCH}")
    assert slow_site.rows("select count(*) from runs") == [(1,)]


async def test_a_server_killed_and_restarted_during_a_stream_loses_nothing(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)
    await chat.open()
    model.pause()
    await chat.send(SEARCH)
    await expect(chat.answers.last).to_contain_text("PY-")
    slow_site.kill()
    await expect(chat.page.locator("#connection")).to_contain_text("Nothing is lost")
    model.resume()
    await slow_site.start()
    await chat.wait_for_reply()

    await expect(chat.page.locator("#connection")).to_be_hidden()
    await expect(chat.answers.first).to_contain_text("Interrupted here.")
    await expect(chat.answers.last).to_contain_text("Tell me a code")
    text = await chat.answers.last.inner_text()
    await chat.page.reload()
    await expect(chat.answers).to_have_text(text, use_inner_text=True)
    assert slow_site.rows("select status from runs") == [("completed",)]


async def test_a_message_whose_response_is_lost_is_accepted_once(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await chat.open()
    lost: list[str] = []

    async def lose(route: Route) -> None:
        if lost:
            await route.continue_()
            return
        lost.append((await route.fetch()).headers["x-request-id"])
        await route.abort()

    await chat.page.route("**/v1/responses", lose)
    await chat.send("Sign me up for PY-101, please.")
    await chat.wait_for_reply()

    await expect(chat.answers.last).to_contain_text("You are enrolled in PY-101")
    await expect(chat.page.locator(".message.user")).to_have_count(1)
    assert len(lost) == 1
    assert site.rows("select count(*) from runs") == [(1,)]


async def test_a_message_that_a_reload_interrupts_is_accepted_once(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.page.route("**/v1/responses", lambda route: route.abort())
    await chat.send("Sign me up for PY-101, please.")
    await expect(chat.page.locator("#connection")).to_be_visible()
    await chat.page.unroute_all()
    await chat.page.reload()
    await expect(chat.answers.last).to_contain_text("You are enrolled in PY-101")
    await chat.page.reload()

    await expect(chat.answers.last).to_contain_text("You are enrolled in PY-101")
    await expect(chat.page.locator(".message.user")).to_have_count(1)
    assert site.rows("select count(*) from runs") == [(1,)]


async def test_escape_stops_the_response(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)
    await chat.open()
    model.pause()
    await chat.send(SEARCH)
    await expect(chat.answers.last).to_contain_text("PY-")
    await chat.page.keyboard.press("Escape")
    await chat.wait_for_reply()

    await expect(chat.page.locator(".notice")).to_contain_text("Stopped.")
    await chat.page.reload()
    await expect(chat.page.locator(".notice")).to_contain_text("Stopped.")
    assert slow_site.rows("select status from runs") == [("cancelled",)]


async def test_a_failed_run_shows_its_reason(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    def call_check_stock(body: Item) -> list[Item]:
        call_id = f"c{len(body['input'])}"
        call = {"name": "check_stock", "arguments": "{}", "call_id": call_id}
        return [{"type": "function_call", **call}]

    model.rules = call_check_stock
    chat = await open_chat(slow_site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send("Is A-17 in stock?")
    await chat.wait_for_reply()

    reason = "Run failed: tool `check_stock` raised RuntimeError three times in a row"
    await expect(chat.page.locator(".notice")).to_contain_text(reason)
    await expect(chat.page.locator("#conversations li")).to_contain_text("Failed")
    await expect(chat.steps.last).to_contain_text("Run failed")
    await chat.page.reload()
    await expect(chat.page.locator(".notice")).to_contain_text(reason)


async def test_a_typed_output_is_shown_by_field_and_an_invalid_one_in_the_journal(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    def correct(body: Item) -> list[Item]:
        seats = "many" if len(body["input"]) == 1 else 4
        return [message(json.dumps({"guest": "Ann", "seats": seats}))]

    model.rules = correct
    chat = await open_chat(slow_site)
    await chat.open()
    await chat.choose_workflow("bookings")
    await chat.send("A table for Ann and three others")
    await chat.wait_for_reply()

    for _ in range(2):
        await expect(chat.answers).to_have_count(1)
        await expect(chat.answers.locator("dt")).to_have_text(["guest", "seats"])
        await expect(chat.answers.locator("dd")).to_have_text(["Ann", "4"])
        await expect(chat.step(2)).to_contain_text("Model replied: no valid output")
        await chat.page.reload()
    await chat.step(2).locator("summary").click()
    await expect(chat.step(2)).to_contain_text("seats: Input should be a valid integer")


async def test_a_conversation_is_forked_from_any_step(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.send(SEARCH)
    await chat.wait_for_reply()
    await chat.send("Sign me up for PY-101, please.")
    await expect(chat.answers.last).to_contain_text("You are enrolled")
    first = chat.page.url
    # The end of the first turn.
    await chat.step(5).hover()
    await chat.step(5).get_by_role("button", name="Fork from step 5").click()
    await expect(chat.answers).to_have_count(1)
    await expect(chat.steps).to_have_count(5)
    await chat.send("Sign me up for PY-120, please.")
    await chat.wait_for_reply()

    await expect(chat.answers.last).to_contain_text("You are enrolled in PY-120")
    assert chat.page.url != first
    await expect(chat.page.locator("#conversations")).to_contain_text("Fork from step 5")
    await chat.page.goto(first)
    await expect(chat.answers.last).to_contain_text("You are enrolled in PY-101")


async def test_a_conversation_is_deleted_on_request(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.send("What am I enrolled in now?")
    await chat.wait_for_reply()
    chat.page.once("dialog", lambda dialog: dialog.accept())
    await chat.page.get_by_role("button", name="Delete").click()

    await expect(chat.examples.first).to_be_visible()
    await expect(chat.page.locator("#conversations li")).to_have_count(0)


async def test_conversations_of_the_command_line_are_on_the_page(
    site: Site, open_chat: OpenChat
) -> None:
    site.command("run", "Sign me up for PY-101, please.")
    chat = await open_chat(site)
    await chat.open()

    await chat.page.locator("#conversations a").click()

    await expect(chat.page.locator(".message.user")).to_have_text(
        "You: Sign me up for PY-101, please."
    )
    await expect(chat.answers).to_have_count(1)
