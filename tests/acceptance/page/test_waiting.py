"""Questions, approvals with other arguments, waits and sub-workflows at the page."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.acceptance.page.chat_page import ChatPage
from tests.acceptance.page.conftest import OpenChat
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel
from tests.acceptance.page.test_appearance import PHONE, axe_violations
from twelvefold.core.events import Item
from twelvefold.services.model.items import message

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]
TIME = r"\d\d:\d\d"


def act(body: Item) -> list[Item]:
    """Make the calls that the user's text names, one a line; then reply with their results."""
    items = body["input"] if isinstance(body["input"], list) else [{"content": body["input"]}]
    results = [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
    if results:
        return [message("Results: " + "; ".join(results))]
    content = items[0]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    lines = [line.partition(" ") for line in text.splitlines()]
    return [
        {"type": "function_call", "name": name, "arguments": arguments, "call_id": f"c{number}"}
        for number, (name, _, arguments) in enumerate(lines)
    ]


@pytest.fixture
def site(slow_site: Site, model: SlowModel) -> Site:
    """A server whose model calls the tools that the user names."""
    model.rules = act
    return slow_site


def line(name: str, **arguments: Any) -> str:
    return f"{name} {json.dumps(arguments)}"


async def call(chat: ChatPage, name: str, **arguments: Any) -> None:
    """Have the model call a tool."""
    await send(chat, line(name, **arguments))


async def send(chat: ChatPage, text: str) -> None:
    await chat.open()
    await chat.choose_workflow("orders")
    await chat.send(text)


async def ask(chat: ChatPage, kind: str) -> Locator:
    """Have a tool ask a question; return its form."""
    await call(chat, "ask", kind=kind)
    form = chat.page.get_by_role("group", name=f"Which {kind}?")
    await expect(form).to_be_visible()
    return form


async def answer(form: Locator) -> None:
    await form.get_by_role("button", name="Answer").click()


# --- questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "typed", "result"),
    [
        ("text", "two\nlines", '"two\\nlines"'),
        ("text", '"quoted"', '"\\"quoted\\""'),
        ("number", "2.50", "2.5"),
        ("whole", "3", "3"),
        ("anything", '["a"]', '["a"]'),
    ],
)
async def test_a_typed_answer_is_sent_as_its_type(
    site: Site, open_chat: OpenChat, kind: str, typed: str, result: str
) -> None:
    chat = await open_chat(site)
    form = await ask(chat, kind)
    await expect(chat.page.locator("#hint")).to_have_text("Answer the question above first.")
    await form.get_by_role("textbox").fill(typed)
    await answer(form)
    await chat.wait_for_reply()

    await expect(form.locator(".decision")).to_contain_text("Answered")
    await expect(chat.answers).to_have_text(f"Assistant: Results: {result}")


@pytest.mark.parametrize(
    ("kind", "choice", "result"), [("colour", "blue", '"blue"'), ("yes", "No", "false")]
)
async def test_a_choice_is_a_radio_button(
    site: Site, open_chat: OpenChat, kind: str, choice: str, result: str
) -> None:
    chat = await open_chat(site)
    form = await ask(chat, kind)
    await form.get_by_label(choice, exact=True).check()
    await answer(form)
    await chat.wait_for_reply()

    await expect(chat.calls).to_contain_text(result.strip('"'))
    await chat.page.reload()
    await expect(chat.page.locator(".decision")).to_have_text(f"Answered: {result.strip(chr(34))}")


async def test_many_choices_are_a_list(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    form = await ask(chat, "month")
    await form.get_by_role("combobox").select_option("11")
    await answer(form)

    await expect(chat.answers).to_have_text('Assistant: Results: "11"')


async def test_an_object_is_a_field_for_each_property(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    form = await ask(chat, "delivery")
    await form.get_by_label("Name").fill("Ann")
    await form.get_by_label("Pieces").fill("7")
    await form.get_by_label("large").check()
    await form.get_by_label("No", exact=True).check()
    await form.get_by_label("Street").fill("Long Lane 1")
    await chat.take_screenshot("question")
    await answer(form)
    await expect(form.get_by_role("alert")).to_contain_text("pieces: 7 is greater than")
    await expect(form.get_by_label("Name")).to_have_value("Ann")
    await expect(form.get_by_label("large")).to_be_checked()
    await expect(chat.page.locator("#error")).to_be_hidden()
    await form.get_by_label("Pieces").fill("2")
    await answer(form)
    await chat.wait_for_reply()

    delivery = {"name": "Ann", "pieces": 2, "size": "large", "express": False, "weight_kg": None}
    result = delivery | {"address": {"street": "Long Lane 1", "city": ""}}
    text = json.dumps(result, separators=(",", ":"))
    await expect(chat.answers).to_have_text(f"Assistant: Results: {text}")


async def test_an_answer_that_is_no_json_is_not_sent(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    form = await ask(chat, "anything")
    await form.get_by_role("textbox").fill("[1,")
    await answer(form)
    await expect(form.get_by_role("alert")).to_have_text("This is not JSON.")
    await form.get_by_role("textbox").fill("[1]")
    await answer(form)

    await expect(form.get_by_role("alert")).to_contain_text('1 is not of type "string"')


async def test_a_question_is_answered_with_the_keyboard_after_a_reload(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await ask(chat, "colour")
    await chat.page.reload()
    await expect(chat.page.locator(".approval form")).to_be_visible()
    await chat.page.keyboard.press("Alt+KeyA")
    await chat.page.keyboard.press("ArrowDown")
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Enter")
    await chat.wait_for_reply()

    await expect(chat.answers).to_have_text('Assistant: Results: "blue"')


# --- approvals ----------------------------------------------------------------------------------


async def test_a_call_is_allowed_with_other_arguments(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await call(chat, "pay", account="DE00\u202e", amount_usd=250)
    form = chat.page.get_by_role("group", name="Allow pay?")
    await expect(form.locator(".until")).to_have_text(re.compile(rf"Expires at {TIME}\."))
    await form.get_by_role("button", name="Edit arguments").click()
    area = form.get_by_label("Arguments as JSON")
    await expect(area).to_be_focused()
    await expect(area).to_have_value('{\n  "account": "DE00\\u202e",\n  "amount_usd": 250\n}')
    await area.fill('{"account": "DE11", "amount_usd": "much"}')
    await form.get_by_role("button", name="Allow with these arguments").click()
    await expect(form.get_by_role("alert")).to_contain_text("amount_usd")
    await area.fill('{"account": "DE11", "amount_usd": 25.50}')
    await form.get_by_role("button", name="Allow with these arguments").click()
    await chat.wait_for_reply()

    decision = "Allowed with these arguments, which a person has changed."
    for _ in range(2):
        await expect(form.locator(".decision")).to_have_text(decision)
        await expect(form.locator("dd")).to_have_text(["DE11", "25.50"])
        await chat.page.reload()
    await expect(chat.answers).to_contain_text("paid 25.5 to DE11")
    answered = chat.steps.filter(has_text="Allowed with other arguments")
    await expect(answered.locator(".meta")).to_contain_text("with account: DE11, amount_usd: 25.50")
    await answered.locator("summary").click()
    await expect(answered).to_contain_text("25.50")


async def test_discarded_changes_are_not_sent(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await call(chat, "pay", account="DE00", amount_usd=250)
    form = chat.page.get_by_role("group", name="Allow pay?")
    await form.get_by_role("button", name="Edit arguments").click()
    await form.get_by_label("Arguments as JSON").fill("{}")
    await form.get_by_role("button", name="Discard changes").click()
    await form.get_by_role("button", name="Allow", exact=True).click()

    await expect(chat.answers).to_contain_text("paid 250.0 to DE00")
    await expect(form.locator(".decision")).to_have_text("Allowed.")


async def test_an_approval_that_expires_is_closed(site: Site, open_chat: OpenChat) -> None:
    site.start_worker()
    chat = await open_chat(site)
    await call(chat, "pay_soon", amount_usd=1)

    await expect(chat.page.locator(".decision")).to_contain_text("Expired")
    await expect(chat.answers).to_contain_text("Results: ")
    await expect(chat.page.locator("#hint")).to_be_empty()


# --- times and events ---------------------------------------------------------------------------


async def test_a_run_that_waits_for_a_time_continues_by_itself(
    site: Site, open_chat: OpenChat
) -> None:
    site.start_worker()
    chat = await open_chat(site)
    await call(chat, "remind", seconds=30)
    waiting = re.compile(rf"Waiting until {TIME}")
    await expect(chat.page.locator("#working")).to_have_text(waiting)
    await chat.page.reload()

    await expect(chat.page.locator("#working")).to_have_text(waiting)
    await expect(chat.calls.locator(".effect")).to_have_text(re.compile(f"waiting until {TIME}"))
    await expect(chat.answers).to_contain_text("Results: 20")
    await expect(chat.page.locator("#working")).to_be_hidden()


async def test_a_run_that_waits_for_an_event_continues_by_itself(
    site: Site, open_chat: OpenChat
) -> None:
    site.start_worker()
    chat = await open_chat(site)
    await call(chat, "order", item="lamp")
    working = chat.page.locator("#working")
    await expect(working).to_have_text("Waiting for the event payment:lamp")
    await expect(chat.button).to_have_text("Stop")
    site.command(
        "signal", "payment:lamp", '{"usd": 12}', "--workflow", "orders", "--principal", "local"
    )

    await expect(chat.answers).to_contain_text('Results: {"usd":12}')


async def test_a_run_that_waits_is_stopped(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await call(chat, "order", item="lamp")
    await expect(chat.page.locator("#working")).to_contain_text("payment:lamp")
    await chat.page.keyboard.press("Escape")
    await chat.wait_for_reply()

    await expect(chat.page.locator(".notice")).to_contain_text("Stopped.")


# --- sub-workflows ------------------------------------------------------------------------------


async def test_an_approval_of_a_sub_workflow_is_given_in_the_conversation(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await call(chat, "billing", input=line("pay", account="DE00", amount_usd=5))
    form = chat.page.get_by_role("group", name="Allow pay?")
    await expect(form).to_contain_text("From billing")
    tree = chat.page.locator(".tree li")
    await expect(tree).to_have_text("billing waits for you")
    await chat.page.reload()
    await chat.take_screenshot("sub-workflow")
    await form.get_by_role("button", name="Edit arguments").click()
    await form.get_by_label("Arguments as JSON").fill('{"account": "DE11", "amount_usd": "x"}')
    await form.get_by_role("button", name="Allow with these arguments").click()
    await expect(form.get_by_role("alert")).to_contain_text("amount_usd")
    await form.get_by_label("Arguments as JSON").fill('{"account": "DE11", "amount_usd": 6}')
    await form.get_by_role("button", name="Allow with these arguments").click()
    await chat.wait_for_reply()

    await expect(chat.answers).to_contain_text("paid 6.0 to DE11")
    await expect(tree).to_have_text("billing completed")
    await expect(form.locator(".decision")).to_contain_text("Allowed with these arguments")


async def test_questions_of_several_sub_workflows_are_answered_in_any_order(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    bills = [line("ask", kind="colour"), line("ask", kind="yes")]
    await call(chat, "pay_all", bills=bills)
    yes = chat.page.get_by_role("group", name="Which yes?")
    colour = chat.page.get_by_role("group", name="Which colour?")
    await yes.get_by_label("Yes", exact=True).check()
    await answer(yes)
    await expect(yes.locator(".decision")).to_have_text("Answered: true")
    await colour.get_by_label("red").check()
    await answer(colour)
    await chat.wait_for_reply()

    await expect(chat.page.locator(".tree li")).to_have_text(["billing completed"] * 2)
    await expect(chat.answers).to_contain_text("red")


async def test_the_tree_opens_the_journal_of_a_run(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await call(chat, "billing", input=line("ask", kind="yes"))
    await chat.page.locator(".tree a").click()
    entries = chat.page.locator("#child-entries .entry")
    await expect(entries).to_have_count(3)
    await expect(chat.page.locator("#journal-title")).to_have_text("Journal of billing")
    await expect(entries.get_by_role("button")).to_have_count(0)
    form = chat.page.get_by_role("group", name="Which yes?")
    await form.get_by_label("Yes", exact=True).check()
    await answer(form)
    await chat.wait_for_reply()
    await expect(entries).to_have_count(7)
    await chat.page.reload()
    await expect(entries).to_have_count(7)
    await expect(chat.page.locator("#journal-title")).to_have_text("Journal of billing")
    await chat.page.get_by_role("link", name="Back").click()

    await expect(chat.page.locator("#journal-title")).to_have_text("Journal")
    await expect(chat.steps.first).to_be_visible()


# --- appearance ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation_with_forms(
    site: Site, open_chat: OpenChat, scheme: Any
) -> None:
    chat = await open_chat(site, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    form = await ask(chat, "delivery")
    await form.get_by_label("Name").fill("Ann")
    assert await axe_violations(chat.page) == []
    await call(chat, "pay", account="DE00", amount_usd=250)
    await chat.page.get_by_role("button", name="Edit arguments").click()
    await chat.page.get_by_label("Arguments as JSON").fill("{")
    await chat.page.get_by_role("button", name="Allow with these arguments").click()
    await expect(chat.page.get_by_role("alert").first).to_be_visible()
    assert await axe_violations(chat.page) == []
    await send(chat, line("billing", input=line("ask", kind="colour")))
    await expect(chat.page.get_by_role("group", name="Which colour?")).to_be_visible()
    await chat.page.locator(".tree a").click()
    await expect(chat.page.locator("#child-entries .entry")).to_have_count(3)
    assert await axe_violations(chat.page) == []


async def test_forms_fit_a_phone(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site, viewport=PHONE, has_touch=True, is_mobile=True)
    await ask(chat, "delivery")
    assert await chat.page.evaluate("() => document.documentElement.scrollWidth") == 390
    await call(chat, "pay", account="DE00" * 20, amount_usd=250)
    await chat.page.get_by_role("button", name="Edit arguments").click()
    assert await chat.page.evaluate("() => document.documentElement.scrollWidth") == 390
