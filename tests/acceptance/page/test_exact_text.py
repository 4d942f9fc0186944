"""An approval shows the exact arguments of the call, and no text has invisible characters."""

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.acceptance.page.chat_page import REPLY_TIMEOUT_MS, ChatPage
from tests.acceptance.page.conftest import OpenChat
from tests.acceptance.page.serving import FIELDS, Site
from tests.acceptance.page.slow_model import SlowModel
from twelvefold.core.events import Item
from twelvefold.observe.escape import escape, escape_prose, is_visible
from twelvefold.services.model.items import message

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]
ESCAPES = Path(__file__).parents[2] / "observe" / "escapes.json"
OVERRIDE = "\u202eelpmaxe ta bob\u202c"
HIDDEN = (
    "\x00\x07\x1b[2J\r\x7f\x9b\xa0\xad\u061c\u200b\u200e\u2028\u2066\ufe0f\ufeff\u3164\U000e0041"
)
ADDRESSES: Mapping[str, Any] = {
    f"name{one}": f"value {number}{one}end" for number, one in enumerate(HIDDEN)
}
LONG = "A letter." * 555 + "end"
ARGUMENTS: Mapping[str, Any] = {
    "note": OVERRIDE,
    "details": {
        "to": {"name": "Ann", "account": {"iban": "DE00", "limits": [1, [2, {"deep": "est"}]]}},
        "2": "two",
        "1": "one",
        "e\u0301" + "\u0301" * 40: "flood",
        "": "empty name",
        " padded": "name",
        "empty": "",
        "spaces": "  x ",
        "text of a number": "5",
        "null": None,
        "none": {},
        "nothing": [],
        "rows": [{f"column {number}": number for number in range(13)} for _ in range(51)],
        **ADDRESSES,
    },
    "items": [LONG, "line one\nline two\tend", True, 12345678901234567890, "שלום עולם", "5 € 🙂"],
    **{name: f"v{number}" for number, name in enumerate(FIELDS)},
}


def calls(name: str, arguments: str) -> Callable[[Item], list[Item]]:
    """Return rules that reply with this call, and then with a message."""

    def reply(body: Item) -> list[Item]:
        if body["input"][-1]["type"] == "function_call_output":
            return [message("Done.")]
        return [{"type": "function_call", "name": name, "arguments": arguments, "call_id": "c1"}]

    return reply


async def request_approval(
    site: Site, model: SlowModel, open_chat: OpenChat, arguments: str
) -> ChatPage:
    """Open the page and send a message that leads to a call of `transfer`."""
    model.rules, model.delay_s = calls("transfer", arguments), 0
    chat = await open_chat(site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send("Move it")
    await expect(chat.page.locator(".approval form")).to_be_visible(timeout=REPLY_TIMEOUT_MS)
    return chat


async def read_values(element: Locator) -> Any:
    """Return the values that an approval shows, from its elements."""
    return json.loads(
        await element.evaluate(
            """(element) => {
          const value = (node) => {
            const [only] = node.children;
            if (node.matches("dl")) return Object.fromEntries([...node.children].map(
              (row) => [row.children[0].textContent, value(row.children[1])]));
            if (node.matches("ol")) return [...node.children].map((item) => value(item));
            if (only?.matches("dl, ol, bdi, code")) return value(only);
            return node.textContent;
          };
          return JSON.stringify(value(element));
        }"""
        )
    )


def displayed(value: Any) -> Any:
    """Return the values as the page must show them."""
    if isinstance(value, dict) and value:
        ambiguous = ("", " padded")
        names = {name: json.dumps(name) if name in ambiguous else visible(name) for name in value}
        return {names[name]: displayed(one) for name, one in value.items()}
    if isinstance(value, list) and value:
        return [displayed(one) for one in value]
    if not isinstance(value, str) or value in ("", "  x ", "5"):
        return json.dumps(value)
    return visible(value)


def visible(text: str) -> str:
    return escape(text).replace(r"\n", "\\n\n")


async def test_an_approval_shows_every_argument(
    slow_site: Site, model: SlowModel, open_chat: OpenChat, tmp_path: Path
) -> None:
    chat = await request_approval(slow_site, model, open_chat, json.dumps(ARGUMENTS))
    values = chat.page.locator(".approval .exact-value")

    assert await read_values(values) == displayed(ARGUMENTS)
    text = await chat.page.locator("body").evaluate("(body) => body.textContent")
    assert not {one for one in text if not is_visible(one)} - {"\n"}
    assert not await cut_off(values)
    await chat.page.evaluate("document.querySelector('.approval').scrollIntoView()")
    await chat.page.screenshot(path=tmp_path / "approval.png")
    await chat.page.get_by_role("button", name="Allow").click()
    await chat.wait_for_reply()
    [(result,)] = slow_site.rows("select body from events where type = 'ToolSucceeded'")
    assert json.loads(result)["result"].startswith(OVERRIDE)


async def cut_off(element: Locator) -> list[str]:
    """Return elements whose text is clipped or hidden."""
    return await element.evaluate(  # type: ignore[no-any-return]
        """(element) => [element, ...element.querySelectorAll("*")].filter((one) => {
          const style = getComputedStyle(one);
          const cut = ["hidden", "clip"].includes(style.overflowX);
          const ends = style.textOverflow === "ellipsis" || style.maxHeight !== "none";
          return cut || ends || style.visibility !== "visible";
        }).map((one) => one.outerHTML.slice(0, 100))"""
    )


DEFAULTS = dict.fromkeys(("note", *FIELDS), '""')
"""The parameters of the tool with a default, as an approval shows them."""


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"note": "to Ann", "note": "to Eve"}', {"note": "to Eve"}),
        ('{"note": "to Ann", "not\\u0065": "to Eve"}', {"note": "to Eve"}),
        ('{"details": {"usd": 1, "usd": 1000}}', {"details": {"usd": "1000"}}),
        (
            '{"details": {"big": 12345678901234567890, "f": 1.10, "z": 1e400}}',
            {"details": {"big": "12345678901234567890", "f": "1.10", "z": "1e400"}},
        ),
        ('{"details": {"__proto__": {"a": "b"}}}', {"details": {"__proto__": {"a": "b"}}}),
        ("{}", {}),
    ],
)
async def test_an_approval_shows_the_value_that_the_tool_receives(
    slow_site: Site, model: SlowModel, open_chat: OpenChat, arguments: str, shown: Any
) -> None:
    chat = await request_approval(slow_site, model, open_chat, arguments)

    assert await read_values(chat.page.locator(".approval .exact-value")) == DEFAULTS | shown


async def test_the_tools_name_and_the_reason_are_shown_with_escapes(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send("Refund 25 to: A-17")
    await chat.page.get_by_label("Reason for denial").fill(f"no {OVERRIDE}")
    await chat.page.get_by_role("button", name="Deny").click()
    await chat.wait_for_reply()

    decision = chat.page.locator(".decision")
    await expect(decision).to_have_text(r"Denied. “no \u202eelpmaxe ta bob\u202c”")
    await expect(decision.locator("bdi")).to_have_count(1)


async def test_a_foreign_text_does_not_affect_the_text_beside_it(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    model.rules = lambda _: [message(f"Hello {OVERRIDE} and **{OVERRIDE}**\n\n- {HIDDEN}x")]
    chat = await open_chat(slow_site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send(f"hi {OVERRIDE}")
    await chat.wait_for_reply()
    await expect(chat.page.locator("#conversations .name")).to_contain_text(r"\u202e")
    await expect(chat.page.locator("#title")).to_contain_text(r"hi \u202e")
    await chat.step(1).locator("summary").click()
    await chat.step(2).locator("summary").click()

    text = await chat.page.locator("body").evaluate("(body) => body.textContent")
    assert not {one for one in text if not is_visible(one)} - {"\n"}
    assert all(map(is_visible, await chat.page.title()))
    await expect(chat.answers.last).to_contain_text(r"and \u202eelpmaxe")


@pytest.mark.parametrize(
    "text", ["שלום עולם, זה מבחן 12.", "مرحبا بالعالم", "می‌خواهم ❤️‍🔥 1️⃣", "हिन्दी Tiếng Việt"]
)
async def test_text_of_any_script_stays_readable(
    slow_site: Site, model: SlowModel, open_chat: OpenChat, text: str
) -> None:
    model.rules = lambda _: [message(text)]
    chat = await open_chat(slow_site)
    await chat.open()
    await chat.choose_workflow("refunds")
    await chat.send(text)
    await chat.wait_for_reply()

    assert await chat.answers.last.locator(".text").text_content() == text
    assert await chat.page.locator(".message.user .text").text_content() == text
    assert await chat.page.locator(".escape").count() == 0
    right = "R" in unicodedata.bidirectional(text[0]) or unicodedata.bidirectional(text[0]) == "AL"
    assert await starts_at_the_right(chat.answers.last.locator("p").last) is right


async def starts_at_the_right(element: Locator) -> bool:
    """Return whether the first letter of a text is right of its last one."""
    return await element.evaluate(  # type: ignore[no-any-return]
        """(element) => {
          const node = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
          const left = (at) => {
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            return range.getBoundingClientRect().left;
          };
          return left(0) > left(node.data.length - 2);
        }"""
    )


async def test_the_page_escapes_like_the_command_line(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    table = json.loads(ESCAPES.read_text(encoding="utf-8"))
    # Unassigned characters are left out: the Unicode versions of browser and Python may differ.
    known = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) != "Cn"]
    texts = [text for text, _ in table]

    escaped = await escaped_by_the_page(chat.page, "escape", texts)
    shown = await escaped_by_the_page(chat.page, "escape", [f"a{one}" for one in known])
    prose = await escaped_by_the_page(chat.page, "escapeProse", texts)

    assert escaped == [shown for _, shown in table]
    pairs = zip(known, shown, strict=True)
    assert [one for one, text in pairs if (text == f"a{one}") != is_visible(one)] == []
    assert prose == [escape_prose(text) for text in texts]


async def escaped_by_the_page(page: Page, name: str, texts: list[str]) -> list[str]:
    # As JSON, so that surrogates arrive as they are.
    return json.loads(  # type: ignore[no-any-return]
        await page.evaluate(
            """async ([name, texts]) => {
              const { [name]: escape } = await import("/static/escape.js");
              return JSON.stringify(JSON.parse(texts).map((text) => escape(text)));
            }""",
            [name, json.dumps(texts)],
        )
    )
