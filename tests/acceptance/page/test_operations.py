"""The operations page on a real server: runs, access, keyboard, appearance."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.acceptance.page.conftest import OpenChat, OpenOperations
from tests.acceptance.page.operations_page import HOSTILE, Operated, start_hostile_runs
from tests.acceptance.page.serving import Site
from tests.acceptance.page.test_appearance import PHONE, axe_violations

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]
NAVIGATION = "skip-link"
"""A rule that takes a link for a hidden one if the row of views is scrolled past it."""


async def test_runs_of_all_principals_are_listed_and_filtered(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    await page.open_view("runs?principal=ann")
    await expect(page.rows).to_have_count(5)
    await page.take_screenshot("operations-runs")
    await page.open_view("runs")
    await expect(page.rows).to_have_count(6)
    await expect(page.rows.filter(has_text="Sub-workflow")).to_have_count(2)

    await page.page.get_by_label("Status").select_option("failed")
    await expect(page.rows).to_have_count(1)
    await expect(page.row("ann")).to_contain_text("check_stock` raised RuntimeError three times")
    await page.page.get_by_label("Id or error").fill("no route")
    await page.page.keyboard.press("Enter")
    await expect(page.rows).to_have_count(1)
    assert page.page.url.endswith("#runs?search=no+route&status=failed")
    await page.page.reload()
    await expect(page.rows).to_have_count(1)

    await page.page.get_by_role("button", name="Clear").click()
    await expect(page.rows).to_have_count(6)
    await page.page.get_by_label("Id or error").fill(operated.runs["family"]["id"])
    await page.page.keyboard.press("Enter")
    await expect(page.cells("Workflow")).to_have_text(["orders"])
    await page.open_view("runs?workflow=billing&principal=ann&time=1h")
    await expect(page.cells("Workflow")).to_have_text(["billing", "billing"])
    await page.open_view("runs?time=range&to=2020-01-01T00:00")
    await expect(page.page.get_by_text("No run matches.")).to_be_visible()


async def test_more_runs_are_loaded_by_pages(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    runs = (await operated.request("GET", "v1/admin/runs?limit=100"))["data"]
    await page.page.route(
        "**/v1/admin/runs?*",
        lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=3")),
    )
    await page.open_view("runs")
    await expect(page.rows).to_have_count(3)

    await page.page.get_by_role("button", name="Load more").click()

    links = page.page.locator(".data tbody th [title]")
    await expect(links).to_have_count(6)
    await expect(page.page.get_by_role("button", name="Load more")).to_be_hidden()
    titles = [await link.get_attribute("title") for link in await links.all()]
    assert titles == [run["id"] for run in runs]
    await expect(page.rows.nth(3).get_by_role("link")).to_be_focused()


async def test_a_cleared_filter_leaves_the_focus_in_the_form(
    open_operations: OpenOperations,
) -> None:
    page = await open_operations()
    await page.open_view("runs?status=failed")

    await page.page.get_by_role("button", name="Clear").press("Enter")

    await expect(page.rows).to_have_count(6)
    await expect(page.page.get_by_label("Id or error")).to_be_focused()


async def test_only_filters_are_read_from_the_address(open_operations: OpenOperations) -> None:
    page = await open_operations()

    await page.open_view("runs?time=toString&after=resp_1&__proto__=1")

    await expect(page.rows).to_have_count(6)
    await expect(page.page.get_by_label("Started")).to_have_value("")


async def test_a_view_shows_that_it_is_not_up_to_date(open_operations: OpenOperations) -> None:
    page = await open_operations()
    await page.open_view("workers")
    alert = page.page.get_by_role("alert")
    await page.page.route("**/v1/admin/workers", lambda route: route.abort())
    await expect(alert).to_contain_text("The server cannot be reached.")

    await page.page.unroute("**/v1/admin/workers")

    await expect(alert).to_be_hidden()


async def test_a_page_of_a_list_that_cannot_be_read_is_an_error(
    open_operations: OpenOperations,
) -> None:
    page = await open_operations()
    await page.page.route(
        "**/v1/admin/runs?*",
        lambda route: route.continue_(url=route.request.url.replace("limit=50", "limit=3")),
    )
    await page.open_view("runs")
    await page.page.route("**/v1/admin/runs?*after=*", lambda route: route.abort())

    await page.page.get_by_role("button", name="Load more").click()

    await expect(page.page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    await expect(page.rows).to_have_count(3)


async def test_only_operators_are_shown_the_page(
    operated: Operated, open_operations: OpenOperations
) -> None:
    tenant = await open_operations(operated.keys["ann"])
    await tenant.page.goto(operated.site.url)
    await expect(tenant.examples.first).to_be_visible()
    await expect(tenant.page.get_by_role("link", name="Operations")).to_be_hidden()
    await tenant.open_view("runs")
    await expect(tenant.page.get_by_role("alert")).to_contain_text("scope")
    await expect(tenant.rows).to_have_count(0)

    operator = await open_operations()
    await operator.page.goto(operated.site.url)
    await operator.page.get_by_role("link", name="Operations").click()
    await expect(operator.title).to_have_text("Runs")
    await operator.page.get_by_role("link", name="Conversations").click()
    await expect(operator.examples.first).to_be_visible()


async def test_without_a_key_the_local_user_is_an_operator(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()

    await chat.page.get_by_role("link", name="Operations").click()

    await expect(chat.page.get_by_text("No run matches.")).to_be_visible()
    await expect(chat.page.get_by_role("button", name="Log out")).to_be_hidden()


async def test_the_page_asks_for_a_key_and_forgets_it(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations("")
    await page.page.goto(f"{page.url}operations#runs")
    await page.page.get_by_label("Key", exact=True).fill(operated.keys["olga"])
    await page.page.keyboard.press("Enter")
    await expect(page.rows.first).to_be_visible()
    await page.page.reload()

    await page.page.get_by_role("button", name="Log out").click()

    await expect(page.page.get_by_label("Key", exact=True)).to_be_visible()


async def test_a_key_that_is_revoked_while_a_view_is_open_is_asked_for(
    operated: Operated, open_operations: OpenOperations
) -> None:
    secret = operated.site.command("keys", "create", "revoked", "--scope", "admin").strip()
    page = await open_operations("")
    await page.page.goto(f"{page.url}operations#workers")
    field = page.page.get_by_label("Key", exact=True)
    await field.fill(secret)
    await page.page.keyboard.press("Enter")
    await expect(page.rows).to_have_count(2)

    keys = (await operated.request("GET", "v1/admin/keys"))["data"]
    revoked = next(key["id"] for key in keys if key["name"] == "revoked")
    await operated.request("DELETE", f"v1/admin/keys/{revoked}")

    await expect(page.page.get_by_text("incorrect API key")).to_be_visible()
    await page.page.keyboard.press("Escape")
    await field.fill(operated.keys["olga"])
    await page.page.keyboard.press("Enter")
    await expect(field).to_be_hidden()
    await page.go_to("Runs")
    await expect(page.rows).to_have_count(6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation_in_any_view(
    open_operations: OpenOperations, scheme: Any
) -> None:
    page = await open_operations(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    await page.open_view("runs")
    found = []
    for name in await page.views():
        await page.go_to(name)
        found += await axe_violations(page.page)
    await page.page.keyboard.press("Alt+Slash")
    found += await axe_violations(page.page)

    assert found == []


async def test_on_a_phone_no_view_is_wider_than_the_screen(open_operations: OpenOperations) -> None:
    profile: Any = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "bypass_csp": True}
    page = await open_operations(**profile)
    wide = "() => document.documentElement.scrollWidth"
    await page.open_view("runs?principal=ann")
    await page.take_screenshot("operations-phone")
    for name in await page.views():
        await page.go_to(name)
        assert await page.page.evaluate(wide) == PHONE["width"], name
        assert await axe_violations(page.page, NAVIGATION) == []


async def test_the_keyboard_is_enough_for_operations(open_operations: OpenOperations) -> None:
    page = await open_operations()
    keyboard = page.page.keyboard
    await page.open_view("runs")
    await keyboard.press("Tab")
    await expect(page.page.locator(":focus")).to_have_text("Skip to the content")
    await keyboard.press("Enter")
    await expect(page.title).to_be_focused()
    await keyboard.press("Alt+KeyS")
    await expect(page.page.get_by_label("Id or error")).to_be_focused()
    await keyboard.type("no route")
    await keyboard.press("Enter")
    await expect(page.rows).to_have_count(1)
    await keyboard.press("Alt+KeyR")
    await expect(page.rows).to_have_count(6)
    await keyboard.press("Alt+Slash")
    await expect(page.page.get_by_role("dialog", name="Keyboard")).to_be_visible()


async def test_markup_in_a_name_or_an_error_is_shown_as_text(
    operated: Operated, open_operations: OpenOperations
) -> None:
    await start_hostile_runs(operated)
    page = await open_operations()
    await page.open_view("runs?status=failed")

    await expect(page.cells("Principal").filter(has_text="img")).to_have_text(HOSTILE)
    error = f"three times in a row: {HOSTILE}\\u202e"
    await expect(page.cells("Status").filter(has_text="img")).to_contain_text(error)
    assert await page.page.locator("#content :is(img, script)").count() == 0
