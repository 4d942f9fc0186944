"""The page's accessibility and appearance: themes, narrow screens, keyboard, screen reader."""

from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.acceptance.page.chat_page import ChatPage
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
PHONE = {"width": 390, "height": 844}
FULL_COURSE = "Enrol me in DB-101. If it is full, take whatever is closest."
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async (ignored) => (await axe.run(document)).violations
    .filter(({id}) => !ignored.includes(id))
    .map(({id, impact, nodes}) => `${impact} ${id}: ${nodes.map(({html}) => html).join(" ")}`)"""
ONE_PANEL = ("landmark-one-main", "page-has-heading-one")
"""Rules that do not apply where one panel has the whole screen."""


async def axe_violations(page: Page, *ignored: str) -> list[str]:
    """Return all violations that axe finds, minor ones too, except the rules in `ignored`."""
    await page.evaluate(AXE)
    found: list[str] = await page.evaluate(RUN_AXE, ignored)
    return found


async def enrol(chat: ChatPage) -> None:
    await chat.open()
    await chat.send(FULL_COURSE)
    await chat.wait_for_reply()
    await expect(chat.steps).to_have_count(13)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation(site: Site, open_chat: OpenChat, scheme: Any) -> None:
    chat = await open_chat(site, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    page = chat.page
    await chat.open()
    assert await axe_violations(page) == []

    await enrol(chat)
    for call in await chat.calls.all():
        await call.locator("summary").click()
    await chat.step(3).locator("summary").click()
    assert await axe_violations(page) == []

    await page.keyboard.press("Alt+Slash")
    assert await axe_violations(page) == []
    await page.keyboard.press("Escape")

    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of its own
    for panel in ("Conversations", "Chat", "Journal"):
        await page.locator("#tabs").get_by_role("button", name=panel).click()
        assert await axe_violations(page, *ONE_PANEL) == []


async def test_only_the_panels_scroll(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site, viewport={"width": 1200, "height": 400})
    await enrol(chat)
    heights = "() => [document.documentElement.scrollHeight, window.innerHeight]"

    page, window = await chat.page.evaluate(heights)

    assert page == window


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation_with_an_approval(
    site: Site, open_chat: OpenChat, scheme: Any
) -> None:
    chat = await open_chat(site, color_scheme=scheme, bypass_csp=True)
    await chat.open()
    await chat.choose_workflow("refunds")
    assert await axe_violations(chat.page) == []
    await chat.send("Refund 25 to: A-17")
    await expect(chat.page.locator(".approval form")).to_be_visible()

    assert await axe_violations(chat.page) == []


async def test_on_a_phone_one_panel_has_the_full_width(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site, viewport=PHONE, has_touch=True, is_mobile=True)
    await enrol(chat)
    await chat.calls.nth(3).locator("summary").click()
    await chat.take_screenshot("phone")

    for name, panel in (("Conversations", "list"), ("Chat", "chat"), ("Journal", "journal")):
        await chat.page.locator("#tabs").get_by_role("button", name=name).click()
        shown = chat.page.locator(f"#{panel}")
        await expect(shown).to_be_visible()
        await expect(chat.page.locator(".panel:visible")).to_have_count(1)
        assert await _width(shown) == PHONE["width"]
        assert await chat.page.evaluate("() => document.documentElement.scrollWidth") == 390
    await chat.take_screenshot("phone-journal")


async def _width(element: Locator) -> float:
    box = await element.bounding_box()
    return box["width"] if box else 0


async def test_the_theme_is_the_systems_until_the_user_sets_one(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site, color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    await enrol(chat)
    await chat.calls.nth(2).locator("summary").click()
    await chat.take_screenshot("dark")
    dark = await chat.page.evaluate(paper)

    await chat.page.get_by_role("button", name="Theme").click()
    light = await chat.page.evaluate(paper)
    await chat.page.reload()

    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    assert await chat.page.evaluate(paper) == light
    await expect(chat.page.get_by_role("button", name="Theme: light. Change")).to_be_visible()


async def test_the_keyboard_is_enough(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    keyboard = chat.page.keyboard
    await chat.open()
    await keyboard.press("Tab")
    await expect(chat.page.locator(":focus")).to_have_text("Skip to the message field")
    await keyboard.press("Enter")
    await expect(chat.field).to_be_focused()
    await chat.choose_workflow("refunds")
    await keyboard.press("Alt+KeyC")
    await keyboard.type("Refund 25 to: A-17")
    await keyboard.press("Enter")
    await expect(chat.page.locator(".approval form")).to_be_visible()
    await keyboard.press("Alt+KeyA")
    await keyboard.press("Enter")
    await chat.wait_for_reply()
    await expect(chat.page.locator(".decision")).to_have_text("Allowed.")

    await keyboard.press("Alt+KeyN")
    await expect(chat.field).to_be_focused()
    await expect(chat.page.locator("#welcome")).to_be_visible()
    await keyboard.press("Alt+KeyL")
    await expect(chat.page.locator("#conversations a")).to_be_focused()
    await keyboard.press("Enter")
    await expect(chat.page.locator(".decision")).to_have_text("Allowed.")
    await keyboard.press("Alt+KeyJ")
    await expect(chat.page.locator("#journal")).to_be_hidden()
    await keyboard.press("Alt+KeyJ")
    await expect(chat.page.locator("#journal")).to_be_visible()


async def test_announcements_are_sentences_not_deltas(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)
    await chat.open()
    announced = await chat.page.evaluate_handle(
        """() => {
            const texts = [];
            const region = document.getElementById("announcer");
            new MutationObserver(() => texts.push(region.textContent)).observe(
                region, {childList: true, characterData: true, subtree: true});
            return texts;
        }"""
    )
    model.delay_s = 0.02
    await chat.send("I want to learn programming, for less than 250 dollars.")
    await chat.wait_for_reply()
    await expect(chat.page.locator("#announcer")).to_contain_text("Tell me a code")

    sentences: list[str] = await announced.json_value()
    assert any("find_courses" in sentence for sentence in sentences)
    assert len([sentence for sentence in sentences if sentence]) <= 3


async def test_reduced_motion_disables_animations(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site, reduced_motion="reduce")
    await chat.open()
    model.pause()
    await chat.send("I want to learn programming, for less than 250 dollars.")
    await expect(chat.page.locator(".streaming")).to_be_visible(timeout=30_000)

    assert await chat.page.evaluate("() => document.getAnimations().length") == 0


def link(address: str, contents: str = "", destination: str = "") -> str:
    """Return the markup of a link; `destination` is shown after it."""
    safe = f'title="{address}" target="_blank" rel="noopener noreferrer"'
    element = f'<a href="{address}" {safe}>{contents or address}</a>'
    if not destination:
        return element
    return f'<span>{element} <bdi class="muted">({destination})</bdi></span>'


TEXTS = [
    ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
    ("- a\n- b\n  more\n\nend", "<ul><li>a</li><li>b\nmore</li></ul><p>end</p>"),
    ("3. c\n4. d", '<ol start="3"><li>c</li><li>d</li></ol>'),
    ("**b** and `**c**` and **", "<p><strong>b</strong> and <code>**c**</code> and **</p>"),
    ("``a`b`` `", "<p><code>a`b</code> `</p>"),
    ("a " + "`" * 400, f"<p>a {'`' * 400}</p>"),
    ("# Head\ntext", '<p class="heading">Head</p><p>text</p>'),
    ("```\n- open", '<pre tabindex="0"><code>- open</code></pre>'),
    ("a_b_c * d * 2*3", "<p>a_b_c * d * 2*3</p>"),
    ("<b>&amp;</b>", "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>"),
    ("see <https://example.org/a>", f"<p>see {link('https://example.org/a')}</p>"),
    (
        "(https://example.org/a_(b)). **https://example.org/?c=d**",
        f"<p>({link('https://example.org/a_(b)')}). "
        f"<strong>{link('https://example.org/?c=d')}</strong></p>",
    ),
    (
        f"https://example.org{')' * 400}",
        f"<p>{link('https://example.org/', 'https://example.org')}{')' * 400}</p>",
    ),
    (
        '- [**The** page](https://example.org/a "Title")\n- `https://example.org`',
        f"<ul><li>{link('https://example.org/a', '<strong>The</strong> page', 'example.org')}</li>"
        "<li><code>https://example.org</code></li></ul>",
    ),
    (
        "[Ann](mailto:ann@example.org)",
        f"<p>{link('mailto:ann@example.org', 'Ann', 'ann@example.org')}</p>",
    ),
    (
        "[https://bank.example](https://other.example/)",
        f"<p>{link('https://other.example/', 'https://bank.example', 'other.example')}</p>",
    ),
]
UNSAFE = [
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](\x01javascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](javascript&colon;alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:x) [a](file:///etc/passwd) [a](blob:https://example.org/1)",
    "[a](//example.org) [a](/operations) [a](#x) [a](?x) [a](../x)",
    "[a](https://bank.example@other.example/) https://bank.example:x@other.example/",
    "<javascript:alert(1)> <data:text/html,x>",
    "[a](https://) https:// mailto:ann@example.org",
    '<a href="https://example.org" onclick="alert(1)">a</a>',
]
SHOW_TEXT = """async (text) => {
    const { showText } = await import(new URL("static/text.js", document.baseURI));
    const element = document.createElement("div");
    for (let end = 0; end <= text.length; end += 1) showText(element, text.slice(0, end));
    return element.innerHTML;
}"""


async def test_a_text_looks_the_same_whatever_its_deltas(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site, bypass_csp=True)
    await chat.open()

    shown = [await chat.page.evaluate(SHOW_TEXT, text) for text, _ in TEXTS]

    assert shown == [expected for _, expected in TEXTS]


async def test_an_unsafe_link_stays_text(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site, bypass_csp=True)
    await chat.open()

    shown = [await chat.page.evaluate(SHOW_TEXT, text) for text in UNSAFE]

    assert [one for one in shown if "<a " in one] == []


async def test_a_link_opens_another_tab_that_does_not_know_the_page(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    def reply(_: dict[str, Any]) -> list[Item]:
        return [message(f"[The API]({slow_site.url}version)")]

    chat = await open_chat(slow_site)
    await chat.open()
    model.rules = reply
    await chat.send("Where is the API?")
    await chat.wait_for_reply()

    async with chat.page.expect_popup() as opened:
        await chat.answers.get_by_role("link", name="The API").click()

    other = await opened.value
    assert other.url == f"{slow_site.url}version"
    assert await other.evaluate("() => [window.opener, document.referrer]") == [None, ""]


HOSTILE = """A list of **two**:

- `one`
- <b>two</b> <img src="https://example.org/x" onerror="alert(1)">

```html
<script>alert(2)</script>
```
[link](javascript:alert(3))"""


async def test_markup_of_the_model_is_shown_as_text(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    def reply(_: dict[str, Any]) -> list[Item]:
        return [message(HOSTILE)]

    chat = await open_chat(slow_site)
    await chat.open()
    model.rules = reply
    await chat.send("<i>hello</i>")
    await chat.wait_for_reply()

    text = chat.answers.locator(".text")
    await expect(chat.page.locator(".message.user")).to_contain_text("<i>hello</i>")
    await expect(text).to_contain_text('<img src="https://example.org/x" onerror="alert(1)">')
    await expect(text).to_contain_text("[link](javascript:alert(3))")
    await expect(text.locator("strong")).to_have_text("two")
    await expect(text.locator("li code")).to_have_text("one")
    await expect(text.locator("pre")).to_have_text("<script>alert(2)</script>")
    assert await text.locator("b, i, a, img, script").count() == 0


async def test_the_key_is_stored_in_the_tab_only(site: Site, open_chat: OpenChat) -> None:
    token = site.command("keys", "create", "ann").strip()
    site.kill()
    await site.start()
    chat = await open_chat(site, bypass_csp=True)
    await chat.page.goto(site.url)
    field = chat.page.get_by_label("Key", exact=True)
    await expect(field).to_be_focused()
    assert await axe_violations(chat.page) == []
    await field.fill(f"tw_{'x' * 43}")
    await field.press("Enter")
    await expect(chat.page.locator("#login-error")).to_contain_text("incorrect API key")
    await field.fill(token)
    await field.press("Enter")
    await expect(chat.examples.first).to_be_visible()
    await chat.page.reload()
    await expect(chat.examples.first).to_be_visible()

    storages = (
        "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
    )
    session, local, cookie = await chat.page.evaluate(storages)
    assert token in session
    assert token not in local + cookie
    await chat.page.get_by_role("button", name="Log out").click()
    await expect(field).to_be_visible()
