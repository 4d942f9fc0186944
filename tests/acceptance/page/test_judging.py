"""What a person at the page judges is what runs: all of it, and nothing that cannot be seen."""

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.acceptance.page.conftest import Visits
from tests.acceptance.page.serving import FIELDS, Site
from tests.acceptance.page.slow_model import SlowModel
from tests.acceptance.page.visitor import ANSWER_MS, Visitor
from twelvefold.core.events import Item
from twelvefold.observe.escape import escape, escape_prose, is_visible
from twelvefold.services.model.items import message

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(420),
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
    """Rules of a model that makes this call, and then says that it is done."""

    def reply(body: Item) -> list[Item]:
        if body["input"][-1]["type"] == "function_call_output":
            return [message("Done.")]
        return [{"type": "function_call", "name": name, "arguments": arguments, "call_id": "c1"}]

    return reply


async def asked(site: Site, model: SlowModel, visit: Visits, arguments: str) -> Visitor:
    """Somebody at the page of whom the approval of `transfer` is asked."""
    model.rules, model.pace_s = calls("transfer", arguments), 0
    person = await visit(site)
    await person.opens()
    await person.chooses("refunds")
    await person.says("Move it")
    await expect(person.page.locator(".approval form")).to_be_visible(timeout=ANSWER_MS)
    return person


async def read(element: Locator) -> Any:
    """The values that a person reads in an approval, out of its elements."""
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


def text_of(value: Any) -> Any:
    """The same values as they have to be written."""
    if isinstance(value, dict) and value:
        unclear = ("", " padded")
        names = {name: json.dumps(name) if name in unclear else visible(name) for name in value}
        return {names[name]: text_of(one) for name, one in value.items()}
    if isinstance(value, list) and value:
        return [text_of(one) for one in value]
    if not isinstance(value, str) or value in ("", "  x ", "5"):
        return json.dumps(value)
    return visible(value)


def visible(text: str) -> str:
    return escape(text).replace(r"\n", "\\n\n")


async def test_an_approval_shows_every_argument(
    slow_site: Site, model: SlowModel, visit: Visits, tmp_path: Path
) -> None:
    person = await asked(slow_site, model, visit, json.dumps(ARGUMENTS))
    judged = person.page.locator(".approval .judged")

    assert await read(judged) == text_of(ARGUMENTS)
    whole = await person.page.locator("body").evaluate("(body) => body.textContent")
    assert not {one for one in whole if not is_visible(one)} - {"\n"}
    assert not await cut_off(judged)
    await person.page.evaluate("document.querySelector('.approval').scrollIntoView()")
    await person.page.screenshot(path=tmp_path / "approval.png")
    await person.page.get_by_role("button", name="Allow").click()
    await person.waits_for_the_answer()
    [(result,)] = slow_site.rows("select body from events where type = 'ToolSucceeded'")
    assert json.loads(result)["result"].startswith(OVERRIDE)


async def cut_off(element: Locator) -> list[str]:
    """Elements whose text does not fit and is hidden."""
    return await element.evaluate(  # type: ignore[no-any-return]
        """(element) => [element, ...element.querySelectorAll("*")].filter((one) => {
          const style = getComputedStyle(one);
          const cut = ["hidden", "clip"].includes(style.overflowX);
          const ends = style.textOverflow === "ellipsis" || style.maxHeight !== "none";
          return cut || ends || style.visibility !== "visible";
        }).map((one) => one.outerHTML.slice(0, 100))"""
    )


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
        ("{}", "{}"),
    ],
)
async def test_an_approval_shows_the_value_that_the_tool_gets(
    slow_site: Site, model: SlowModel, visit: Visits, arguments: str, shown: Any
) -> None:
    person = await asked(slow_site, model, visit, arguments)

    assert await read(person.page.locator(".approval .judged")) == shown


async def test_the_name_of_a_tool_and_an_answer_are_shown_as_they_are(
    site: Site, visit: Visits
) -> None:
    person = await visit(site)
    await person.opens()
    await person.chooses("refunds")
    await person.says("Refund 25 to: A-17")
    await person.page.get_by_label("Reason, if you refuse").fill(f"no {OVERRIDE}")
    await person.page.get_by_role("button", name="Refuse").click()
    await person.waits_for_the_answer()

    said = person.page.locator(".said")
    await expect(said).to_have_text(r"Refused. “no \u202eelpmaxe ta bob\u202c”")
    await expect(said.locator("bdi")).to_have_count(1)


async def test_no_text_of_others_acts_on_what_stands_beside_it(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    model.rules = lambda _: [message(f"Hello {OVERRIDE} and **{OVERRIDE}**\n\n- {HIDDEN}x")]
    person = await visit(slow_site)
    await person.opens()
    await person.chooses("refunds")
    await person.says(f"hi {OVERRIDE}")
    await person.waits_for_the_answer()
    await expect(person.page.locator("#conversations .name")).to_contain_text(r"\u202e")
    await expect(person.page.locator("#title")).to_contain_text(r"hi \u202e")
    await person.step(1).locator("summary").click()
    await person.step(2).locator("summary").click()

    whole = await person.page.locator("body").evaluate("(body) => body.textContent")
    assert not {one for one in whole if not is_visible(one)} - {"\n"}
    assert all(map(is_visible, await person.page.title()))
    await expect(person.answers.last).to_contain_text(r"and \u202eelpmaxe")


@pytest.mark.parametrize(
    "text", ["שלום עולם, זה מבחן 12.", "مرحبا بالعالم", "می‌خواهم ❤️‍🔥 1️⃣", "हिन्दी Tiếng Việt"]
)
async def test_ordinary_texts_of_any_script_stay_readable(
    slow_site: Site, model: SlowModel, visit: Visits, text: str
) -> None:
    model.rules = lambda _: [message(text)]
    person = await visit(slow_site)
    await person.opens()
    await person.chooses("refunds")
    await person.says(text)
    await person.waits_for_the_answer()

    assert await person.answers.last.locator(".text").text_content() == text
    assert await person.page.locator(".message.user .text").text_content() == text
    assert await person.page.locator(".escape").count() == 0
    right = "R" in unicodedata.bidirectional(text[0]) or unicodedata.bidirectional(text[0]) == "AL"
    assert await starts_at_the_right(person.answers.last.locator("p").last) is right


async def starts_at_the_right(element: Locator) -> bool:
    """Whether the first letter of a text stands right of its last one."""
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


async def test_the_page_escapes_as_the_terminal_does(site: Site, visit: Visits) -> None:
    person = await visit(site)
    await person.opens()
    table = json.loads(ESCAPES.read_text(encoding="utf-8"))
    # Characters that are newer than one of the two are no concern: they are escaped in one place.
    known = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) != "Cn"]
    texts = [text for text, _ in table]

    escaped = await escaped_by_the_page(person.page, "escape", texts)
    shown = await escaped_by_the_page(person.page, "escape", [f"a{one}" for one in known])
    prose = await escaped_by_the_page(person.page, "escapeProse", texts)

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
