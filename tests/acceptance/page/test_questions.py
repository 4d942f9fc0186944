"""The dialog with a person's open questions, also those of other principals' runs."""

import asyncio
from subprocess import CalledProcessError
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.acceptance.page.chat_page import REPLY_TIMEOUT_MS, ChatPage
from tests.acceptance.page.conftest import OpenChat
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel
from tests.acceptance.page.test_appearance import PHONE, axe_violations
from tests.acceptance.page.test_waiting import act, ask, line

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(420),
]


@pytest.fixture
def site(slow_site: Site, model: SlowModel) -> Site:
    """A server whose model calls the tools that the user names."""
    model.rules, model.delay_s = act, 0
    return slow_site


async def ask_from_elsewhere(site: Site, kind: str) -> None:
    """Let a run of ann ask the user of the page, who has no key and is the principal local."""
    text = line("ask_person", person="local", kind=kind)
    command = ("run", "--as", "ann", "--workflow", "orders", text)
    with pytest.raises(CalledProcessError) as waits:
        await asyncio.to_thread(site.command, *command)  # the model answers from this loop
    assert waits.value.returncode == 75


async def open_dialog(chat: ChatPage) -> Locator:
    await chat.page.keyboard.press("Alt+KeyQ")
    dialog = chat.page.get_by_role("dialog", name="Open questions")
    await expect(dialog).to_be_visible(timeout=REPLY_TIMEOUT_MS)
    return dialog


def form_of(dialog: Locator, kind: str) -> Locator:
    return dialog.get_by_role("group", name=f"Which {kind}?")


def opener(chat: ChatPage) -> Locator:
    return chat.page.locator("#show-questions")


async def test_a_question_of_another_principal_s_run_is_answered_by_keyboard(
    site: Site, open_chat: OpenChat
) -> None:
    await ask_from_elsewhere(site, "colour")
    chat = await open_chat(site)
    await chat.open()
    await expect(opener(chat)).to_have_text("Questions (1)", timeout=REPLY_TIMEOUT_MS)

    dialog = await open_dialog(chat)
    form = form_of(dialog, "colour")
    await expect(form.get_by_role("radio", name="red")).to_be_focused(timeout=REPLY_TIMEOUT_MS)
    await expect(dialog.get_by_role("link")).to_have_count(0, timeout=REPLY_TIMEOUT_MS)
    await chat.page.keyboard.press("ArrowDown")
    await chat.page.keyboard.press("Enter")

    await expect(form.locator(".decision")).to_have_text("Answered: blue", timeout=REPLY_TIMEOUT_MS)
    await expect(dialog.get_by_role("button", name="Close")).to_be_focused(timeout=REPLY_TIMEOUT_MS)
    assert site.rows("select count(*) from open_questions") == [(0,)]
    await chat.page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden(timeout=REPLY_TIMEOUT_MS)
    await expect(opener(chat)).to_be_hidden(timeout=REPLY_TIMEOUT_MS)
    await expect(chat.page.locator("#conversations li")).to_have_count(0, timeout=REPLY_TIMEOUT_MS)


async def test_an_answer_that_does_not_fit_keeps_the_form(site: Site, open_chat: OpenChat) -> None:
    await ask_from_elsewhere(site, "whole")
    chat = await open_chat(site)
    await chat.open()
    dialog = await open_dialog(chat)
    form = form_of(dialog, "whole")

    await form.get_by_role("textbox").fill("9")
    await form.get_by_role("button", name="Answer").click()

    await expect(form.get_by_role("alert")).to_contain_text(
        "9 is greater than the maximum of 3", timeout=REPLY_TIMEOUT_MS
    )
    await expect(form.get_by_role("textbox")).to_have_value("9", timeout=REPLY_TIMEOUT_MS)
    await chat.page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden(timeout=REPLY_TIMEOUT_MS)
    # What was typed stays while the list is read again.
    again = form_of(await open_dialog(chat), "whole")
    await expect(again.get_by_role("textbox")).to_have_value("9", timeout=REPLY_TIMEOUT_MS)


async def test_a_question_that_was_answered_elsewhere_is_gone(
    site: Site, open_chat: OpenChat
) -> None:
    await ask_from_elsewhere(site, "colour")
    chat = await open_chat(site)
    await chat.open()
    await expect(opener(chat)).to_be_visible(timeout=REPLY_TIMEOUT_MS)
    run = site.rows("select thread_id, ordinal from open_questions")[0]
    answer = ("runs", "answer", f"resp_{run[0]}{run[1]}", "red", "--call", "2.0", "--detach")
    await asyncio.to_thread(site.command, *answer)

    dialog = await open_dialog(chat)

    await expect(dialog.get_by_text("No question waits for you.")).to_be_visible(
        timeout=REPLY_TIMEOUT_MS
    )
    await expect(dialog.get_by_role("button", name="Close")).to_be_focused(timeout=REPLY_TIMEOUT_MS)


async def test_a_server_without_the_list_shows_its_conversations(
    site: Site, open_chat: OpenChat
) -> None:
    # During an upgrade an older release may answer the requests of this page.
    chat = await open_chat(site)
    await chat.page.route("**/v1/questions?*", lambda route: route.fulfill(status=404, json={}))
    shown = await ask(chat, "colour")
    async with chat.page.expect_response("**/v1/questions?*"):
        await chat.page.reload()

    await expect(shown).to_be_visible(timeout=REPLY_TIMEOUT_MS)
    await expect(chat.page.locator("#conversations li")).to_have_count(1, timeout=REPLY_TIMEOUT_MS)
    await expect(chat.page.locator("#error")).to_be_hidden(timeout=REPLY_TIMEOUT_MS)
    await expect(opener(chat)).to_be_hidden(timeout=REPLY_TIMEOUT_MS)


async def test_the_question_of_an_own_conversation_is_answered_there_or_here(
    site: Site, open_chat: OpenChat
) -> None:
    site.start_worker()
    chat = await open_chat(site)
    shown = await ask(chat, "colour")
    await expect(opener(chat)).to_have_text("Questions (1)", timeout=REPLY_TIMEOUT_MS)

    dialog = await open_dialog(chat)
    await dialog.get_by_role("link", name="Conversation").click()
    await expect(dialog).to_be_hidden(timeout=REPLY_TIMEOUT_MS)
    form = form_of(await open_dialog(chat), "colour")
    await form.get_by_label("blue").check()
    await form.get_by_role("button", name="Answer").click()
    await expect(form.locator(".decision")).to_have_text("Answered: blue", timeout=REPLY_TIMEOUT_MS)
    await chat.page.keyboard.press("Escape")

    await expect(shown.locator(".decision")).to_contain_text("Answered", timeout=REPLY_TIMEOUT_MS)
    await expect(chat.answers).to_have_text('Assistant: Results: "blue"', timeout=REPLY_TIMEOUT_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dialog_is_accessible_and_fits_a_phone(
    site: Site, open_chat: OpenChat, scheme: Any
) -> None:
    for kind in ("delivery", "colour", "text"):
        await ask_from_elsewhere(site, kind)
    chat = await open_chat(site, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    await chat.open()
    await expect(opener(chat)).to_have_text("Questions (3)", timeout=REPLY_TIMEOUT_MS)
    assert await axe_violations(chat.page) == []
    dialog = await open_dialog(chat)
    await expect(dialog.get_by_role("group")).not_to_have_count(0, timeout=REPLY_TIMEOUT_MS)
    await expect(form_of(dialog, "delivery")).to_be_visible(timeout=REPLY_TIMEOUT_MS)
    assert await axe_violations(chat.page) == []
    if scheme == "light":
        await chat.take_screenshot("questions")

    await chat.page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of its own
    box = await dialog.bounding_box()

    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert box["y"] + box["height"] <= PHONE["height"]
    wide = "(dialog) => dialog.scrollWidth > dialog.clientWidth"
    assert not await dialog.evaluate(wide)
    assert await axe_violations(chat.page) == []
