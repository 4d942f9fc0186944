"""The page for everyone: light and dark, wide and narrow, by keyboard and by screen reader."""

from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.acceptance.page.conftest import Visits
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel
from tests.acceptance.page.visitor import Visitor
from twelvefold.core.events import Item
from twelvefold.services.model.items import message

# The first of them may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(420),
]
PHONE = {"width": 390, "height": 844}
FULL_COURSE = "Enrol me in DB-101. If it is full, take whatever is closest."
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async (left) => (await axe.run(document)).violations
    .filter(({id}) => !left.includes(id))
    .map(({id, impact, nodes}) => `${impact} ${id}: ${nodes.map(({html}) => html).join(" ")}`)"""
ONE_PANEL = ("landmark-one-main", "page-has-heading-one")
"""Where one panel has the screen for itself, the main one may be another."""


async def faults(page: Page, *left: str) -> list[str]:
    """All that axe finds wrong, minor things included, `left` left out."""
    await page.evaluate(AXE)
    found: list[str] = await page.evaluate(RUN_AXE, left)
    return found


async def enrolled(person: Visitor) -> None:
    await person.opens()
    await person.says(FULL_COURSE)
    await person.waits_for_the_answer()
    await expect(person.steps).to_have_count(13)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_fault(site: Site, visit: Visits, scheme: Any) -> None:
    person = await visit(site, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    page = person.page
    await person.opens()
    assert await faults(page) == []

    await enrolled(person)
    for call in await person.calls.all():
        await call.locator("summary").click()
    await person.step(3).locator("summary").click()
    assert await faults(page) == []

    await page.keyboard.press("Alt+Slash")
    assert await faults(page) == []
    await page.keyboard.press("Escape")

    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict of its own
    for panel in ("Conversations", "Chat", "Journal"):
        await page.locator("#tabs").get_by_role("button", name=panel).click()
        assert await faults(page, *ONE_PANEL) == []


async def test_only_the_panels_scroll_however_long_they_are(site: Site, visit: Visits) -> None:
    person = await visit(site, viewport={"width": 1200, "height": 400})
    await enrolled(person)
    heights = "() => [document.documentElement.scrollHeight, window.innerHeight]"

    page, window = await person.page.evaluate(heights)

    assert page == window


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_fault_with_an_approval(site: Site, visit: Visits, scheme: Any) -> None:
    person = await visit(site, color_scheme=scheme, bypass_csp=True)
    await person.opens()
    await person.chooses("refunds")
    assert await faults(person.page) == []
    await person.says("Refund 25 to: A-17")
    await expect(person.page.locator(".approval form")).to_be_visible()

    assert await faults(person.page) == []


async def test_on_a_phone_each_panel_has_the_width_for_itself(site: Site, visit: Visits) -> None:
    person = await visit(site, viewport=PHONE, has_touch=True, is_mobile=True)
    await enrolled(person)
    await person.calls.nth(3).locator("summary").click()
    await person.is_pictured("phone")

    for name, panel in (("Conversations", "list"), ("Chat", "chat"), ("Journal", "journal")):
        await person.page.locator("#tabs").get_by_role("button", name=name).click()
        shown = person.page.locator(f"#{panel}")
        await expect(shown).to_be_visible()
        await expect(person.page.locator(".panel:visible")).to_have_count(1)
        assert await _width(shown) == PHONE["width"]
        assert await person.page.evaluate("() => document.documentElement.scrollWidth") == 390
    await person.is_pictured("phone-journal")


async def _width(element: Locator) -> float:
    box = await element.bounding_box()
    return box["width"] if box else 0


async def test_the_page_is_as_dark_as_the_system_until_somebody_chooses(
    site: Site, visit: Visits
) -> None:
    person = await visit(site, color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    await enrolled(person)
    await person.calls.nth(2).locator("summary").click()
    await person.is_pictured("dark")
    dark = await person.page.evaluate(paper)

    await person.page.get_by_role("button", name="Colours").click()
    light = await person.page.evaluate(paper)
    await person.page.reload()

    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    assert await person.page.evaluate(paper) == light
    await expect(person.page.get_by_role("button", name="Colours: light. Change")).to_be_visible()


async def test_all_is_done_by_keyboard(site: Site, visit: Visits) -> None:
    person = await visit(site)
    keyboard = person.page.keyboard
    await person.opens()
    await keyboard.press("Tab")
    await expect(person.page.locator(":focus")).to_have_text("To the message field")
    await keyboard.press("Enter")
    await expect(person.field).to_be_focused()
    await person.chooses("refunds")
    await keyboard.press("Alt+KeyC")
    await keyboard.type("Refund 25 to: A-17")
    await keyboard.press("Enter")
    await expect(person.page.locator(".approval form")).to_be_visible()
    await keyboard.press("Alt+KeyA")
    await keyboard.press("Enter")
    await person.waits_for_the_answer()
    await expect(person.page.locator(".said")).to_have_text("Allowed.")

    await keyboard.press("Alt+KeyN")
    await expect(person.field).to_be_focused()
    await expect(person.page.locator("#welcome")).to_be_visible()
    await keyboard.press("Alt+KeyL")
    await expect(person.page.locator("#conversations a")).to_be_focused()
    await keyboard.press("Enter")
    await expect(person.page.locator(".said")).to_have_text("Allowed.")
    await keyboard.press("Alt+KeyJ")
    await expect(person.page.locator("#journal")).to_be_hidden()
    await keyboard.press("Alt+KeyJ")
    await expect(person.page.locator("#journal")).to_be_visible()


async def test_a_screen_reader_is_told_what_happens_and_not_each_word(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    person = await visit(slow_site)
    await person.opens()
    said = await person.page.evaluate_handle(
        """() => {
            const said = [];
            const region = document.getElementById("announcer");
            new MutationObserver(() => said.push(region.textContent)).observe(
                region, {childList: true, characterData: true, subtree: true});
            return said;
        }"""
    )
    model.pace_s = 0.02
    await person.says("I want to learn programming, for less than 250 dollars.")
    await person.waits_for_the_answer()
    await expect(person.page.locator("#announcer")).to_contain_text("Tell me a code")

    sentences: list[str] = await said.json_value()
    assert any("find_courses" in sentence for sentence in sentences)
    assert len([sentence for sentence in sentences if sentence]) <= 3


async def test_nothing_moves_for_those_who_asked_for_that(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    person = await visit(slow_site, reduced_motion="reduce")
    await person.opens()
    model.hold()
    await person.says("I want to learn programming, for less than 250 dollars.")
    await expect(person.page.locator(".streams")).to_be_visible(timeout=30_000)

    assert await person.page.evaluate("() => document.getAnimations().length") == 0


TEXTS = [
    ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
    ("- a\n- b\n  more\n\nend", "<ul><li>a</li><li>b\nmore</li></ul><p>end</p>"),
    ("3. c\n4. d", '<ol start="3"><li>c</li><li>d</li></ol>'),
    ("**b** and `**c**` and **", "<p><strong>b</strong> and <code>**c**</code> and **</p>"),
    ("# Head\ntext", '<p class="heading">Head</p><p>text</p>'),
    ("```\n- open", '<pre tabindex="0"><code>- open</code></pre>'),
    ("a_b_c * d * 2*3", "<p>a_b_c * d * 2*3</p>"),
    ("<b>&amp;</b>", "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>"),
]
SHOW_TEXT = """async (text) => {
    const { showText } = await import(new URL("static/text.js", document.baseURI));
    const element = document.createElement("div");
    for (let end = 0; end <= text.length; end += 1) showText(element, text.slice(0, end));
    return element.innerHTML;
}"""


async def test_a_text_is_the_same_whatever_pieces_it_came_in(site: Site, visit: Visits) -> None:
    person = await visit(site, bypass_csp=True)
    await person.opens()

    shown = [await person.page.evaluate(SHOW_TEXT, text) for text, _ in TEXTS]

    assert shown == [expected for _, expected in TEXTS]


HOSTILE = """A list of **two**:

- `one`
- <b>two</b> <img src="https://example.org/x" onerror="alert(1)">

```html
<script>alert(2)</script>
```
[link](javascript:alert(3))"""


async def test_what_the_model_says_is_text(
    slow_site: Site, model: SlowModel, visit: Visits
) -> None:
    def says(_: dict[str, Any]) -> list[Item]:
        return [message(HOSTILE)]

    person = await visit(slow_site)
    await person.opens()
    model.rules = says
    await person.says("<i>hello</i>")
    await person.waits_for_the_answer()

    text = person.answers.locator(".text")
    await expect(person.page.locator(".message.user")).to_contain_text("<i>hello</i>")
    await expect(text).to_contain_text('<img src="https://example.org/x" onerror="alert(1)">')
    await expect(text).to_contain_text("[link](javascript:alert(3))")
    await expect(text.locator("strong")).to_have_text("two")
    await expect(text.locator("li code")).to_have_text("one")
    await expect(text.locator("pre")).to_have_text("<script>alert(2)</script>")
    assert await text.locator("b, i, a, img, script").count() == 0


async def test_a_key_is_asked_for_and_kept_in_the_tab_alone(site: Site, visit: Visits) -> None:
    token = site.command("keys", "create", "ann").strip()
    site.kill()
    await site.start()
    person = await visit(site, bypass_csp=True)
    await person.page.goto(site.url)
    field = person.page.get_by_label("Key", exact=True)
    await expect(field).to_be_focused()
    assert await faults(person.page) == []
    await field.fill(f"tw_{'x' * 43}")
    await field.press("Enter")
    await expect(person.page.locator("#login-why")).to_contain_text("incorrect API key")
    await field.fill(token)
    await field.press("Enter")
    await expect(person.wishes.first).to_be_visible()
    await person.page.reload()
    await expect(person.wishes.first).to_be_visible()

    kept = "() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]"
    session, local, cookie = await person.page.evaluate(kept)
    assert token in session
    assert token not in local + cookie
    await person.page.get_by_role("button", name="Log out").click()
    await expect(field).to_be_visible()
