"""A person gets a job done at the page, whatever happens to the page or the server meanwhile."""

import re

import pytest
from playwright.async_api import Route, expect

from tests.acceptance.page.conftest import Visits
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel

# The first of them may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(420),
]
FULL_COURSE = "Enrol me in DB-101. If it is full, take whatever is closest."
SEARCH = "I want to learn programming, for less than 250 dollars."


async def test_each_wish_of_the_empty_page_is_granted(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    await expect(person.page.locator("#demo")).to_be_visible()
    await person.is_pictured("empty")
    wishes = await person.wishes.all_inner_texts()

    for wish in wishes:
        await person.opens()
        await person.page.get_by_role("button", name=wish).click()
        await person.waits_for_the_answer()
        await expect(person.answers.last).to_be_visible()

    assert len(wishes) == 3
    codes = [code for (code,) in site.rows("select course_code from enrolments order by 1")]
    assert codes == ["DB-102", "PY-101"]
    await expect(person.page.locator("#conversations li")).to_have_count(3)


async def test_a_whole_enrolment_is_shown_with_each_of_its_steps(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    person = await visit(slow_site)
    await person.opens()
    model.holds_at = 36
    model.hold()
    await person.says(FULL_COURSE)
    await expect(person.answers.last).to_contain_text("You are", timeout=30_000)
    await expect(person.step(11)).to_be_visible()
    await person.calls.nth(2).locator("summary").click()
    await person.is_pictured("mid-stream")
    model.let_go()
    await person.waits_for_the_answer()

    tools = await person.calls.locator("summary code").all_inner_texts()
    states = [await call.get_attribute("data-status") for call in await person.calls.all()]
    assert tools == ["get_course", "enrol", "find_alternatives", "enrol", "send_welcome"]
    assert states == ["completed", "failed", "completed", "completed", "completed"]
    await expect(person.answers.last).to_contain_text("You are enrolled in DB-102-A")
    await expect(person.calls.nth(1)).to_contain_text("refused")
    await expect(person.calls.nth(3)).to_contain_text("written")
    await expect(person.calls.nth(2).locator("th").first).to_have_text("section")
    await expect(person.steps).to_have_count(13)
    await expect(person.page.locator("#totals")).to_have_text(re.compile(r"13 steps · [\d,]+ tok"))
    await person.step(5).locator("summary").click()
    await expect(person.step(5)).to_contain_text("DB-101 is full; find_alternatives")
    assert len(slow_site.rows("select 1 from enrolments")) == 1


async def test_an_approval_is_given_in_place(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    await person.chooses("refunds")
    await person.says("Refund 25 to: A-17")
    await expect(person.page.get_by_role("group", name="Allow refund?")).to_be_visible()
    await expect(person.page.locator("#hint")).to_have_text("Answer the request above first.")
    await expect(person.page.locator("#conversations li")).to_contain_text("waits for approval")
    await person.is_pictured("approval")
    await person.page.reload()
    await person.page.get_by_role("button", name="Allow").click()
    await person.waits_for_the_answer()

    await expect(person.page.locator(".said")).to_have_text("Allowed.")
    await expect(person.answers.last).to_contain_text('{"refunded":"A-17"')
    await expect(person.calls).to_have_attribute("data-status", "completed")
    await expect(person.page.locator("#hint")).to_be_empty()
    await expect(person.steps.filter(has_text="Allowed")).to_contain_text("by local")


async def test_an_approval_that_is_refused_says_why(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    await person.chooses("refunds")
    await person.says("Refund 25 to: A-17")
    await person.page.get_by_label("Reason, if you refuse").fill("not before Monday")
    await person.page.get_by_role("button", name="Refuse").click()
    await person.waits_for_the_answer()

    await expect(person.page.locator(".said")).to_have_text("Refused. “not before Monday”")
    await expect(person.answers.last).to_contain_text("not allowed by local: not before Monday")
    await person.page.reload()
    await expect(person.page.locator(".said")).to_have_text("Refused. “not before Monday”")


async def test_who_answers_second_sees_what_the_first_has_said(site: Site, visit: Visits) -> None:
    first = await visit(site)
    await first.opens()
    await first.chooses("refunds")
    await first.says("Refund 25 to: A-17")
    await expect(first.page.locator(".approval form")).to_be_visible()
    second = await visit(site)
    await second.page.goto(first.page.url)
    await expect(second.page.locator(".approval form")).to_be_visible()
    await first.page.get_by_role("button", name="Allow").click()
    await first.waits_for_the_answer()
    await second.page.get_by_role("button", name="Refuse").click()

    await expect(second.page.locator(".said")).to_have_text("Allowed.")
    await expect(second.calls).to_have_count(1)
    await expect(second.page.locator("#error")).to_be_hidden()


async def test_a_reload_in_mid_stream_loses_nothing(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    person = await visit(slow_site)
    await person.opens()
    model.hold()
    await person.says(SEARCH)
    await expect(person.answers.last).to_contain_text("PY-", timeout=30_000)
    shown = await person.answers.last.inner_text()
    await person.page.reload()
    # There may be more by now: the model holds a piece or two later.
    await expect(person.answers).to_contain_text(shown.rstrip(), use_inner_text=True)
    await expect(person.button).to_have_text("Stop")
    model.let_go()
    await person.waits_for_the_answer()

    await expect(person.answers).to_have_count(1)
    await expect(person.answers).to_contain_text("Tell me a code")
    await expect(person.page.locator(".message.user")).to_have_text(f"You: {SEARCH}")
    assert slow_site.rows("select count(*) from runs") == [(1,)]


async def test_a_server_killed_in_mid_stream_and_started_again_loses_nothing(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    person = await visit(slow_site)
    await person.opens()
    model.hold()
    await person.says(SEARCH)
    await expect(person.answers.last).to_contain_text("PY-", timeout=30_000)
    slow_site.kill()
    await expect(person.page.locator("#line")).to_contain_text("Nothing is lost")
    model.let_go()
    await slow_site.start()
    await person.waits_for_the_answer()

    await expect(person.page.locator("#line")).to_be_hidden()
    await expect(person.answers.first).to_contain_text("Cut off here.")
    await expect(person.answers.last).to_contain_text("Tell me a code")
    whole = await person.answers.last.inner_text()
    await person.page.reload()
    await expect(person.answers).to_have_text(whole, use_inner_text=True)
    assert slow_site.rows("select status from runs") == [("completed",)]


async def test_a_message_whose_answer_was_lost_is_said_once(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    lost: list[str] = []

    async def lose(route: Route) -> None:
        if lost:
            await route.continue_()
            return
        lost.append((await route.fetch()).headers["x-request-id"])
        await route.abort()

    await person.page.route("**/v1/responses", lose)
    await person.says("Sign me up for PY-101, please.")
    await person.waits_for_the_answer()

    await expect(person.answers.last).to_contain_text("You are enrolled in PY-101")
    await expect(person.page.locator(".message.user")).to_have_count(1)
    assert len(lost) == 1
    assert site.rows("select count(*) from runs") == [(1,)]


async def test_a_message_that_a_reload_has_interrupted_is_said_once(
    site: Site, visit: Visits
) -> None:
    person = await visit(site)
    await person.opens()
    await person.page.route("**/v1/responses", lambda route: route.abort())
    await person.says("Sign me up for PY-101, please.")
    await expect(person.page.locator("#line")).to_be_visible()
    await person.page.unroute_all()
    await person.page.reload()
    await expect(person.answers.last).to_contain_text("You are enrolled in PY-101")
    await person.page.reload()

    await expect(person.answers.last).to_contain_text("You are enrolled in PY-101")
    await expect(person.page.locator(".message.user")).to_have_count(1)
    assert site.rows("select count(*) from runs") == [(1,)]


async def test_an_answer_can_be_stopped(slow_site: Site, model: SlowModel, visit: Visits) -> None:
    person = await visit(slow_site)
    await person.opens()
    model.hold()
    await person.says(SEARCH)
    await expect(person.answers.last).to_contain_text("PY-", timeout=30_000)
    await person.page.keyboard.press("Escape")
    await person.waits_for_the_answer()

    await expect(person.page.locator(".remark")).to_contain_text("Stopped.")
    await person.page.reload()
    await expect(person.page.locator(".remark")).to_contain_text("Stopped.")
    assert slow_site.rows("select status from runs") == [("cancelled",)]


async def test_a_conversation_is_forked_from_any_step(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    await person.says(SEARCH)
    await person.waits_for_the_answer()
    await person.says("Sign me up for PY-101, please.")
    await expect(person.answers.last).to_contain_text("You are enrolled")
    first = person.page.url
    # Behind the first turn's end.
    await person.step(5).hover()
    await person.step(5).get_by_role("button", name="Fork from step 5").click()
    await expect(person.answers).to_have_count(1)
    await expect(person.steps).to_have_count(5)
    await person.says("Sign me up for PY-120, please.")
    await person.waits_for_the_answer()

    await expect(person.answers.last).to_contain_text("You are enrolled in PY-120")
    assert person.page.url != first
    await expect(person.page.locator("#conversations")).to_contain_text("fork of step 5")
    await person.page.goto(first)
    await expect(person.answers.last).to_contain_text("You are enrolled in PY-101")


async def test_a_conversation_is_deleted_on_request(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    await person.says("What am I enrolled in now?")
    await person.waits_for_the_answer()
    person.page.once("dialog", lambda dialog: dialog.accept())
    await person.page.get_by_role("button", name="Delete").click()

    await expect(person.wishes.first).to_be_visible()
    await expect(person.page.locator("#conversations li")).to_have_count(0)
