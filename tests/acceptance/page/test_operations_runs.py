"""A run, the inbox and the outbox on the operations page of a real server."""

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.acceptance.page.conftest import OpenOperations
from tests.acceptance.page.operations_page import HOSTILE, Operated, line, start_hostile_runs
from tests.acceptance.page.test_appearance import PHONE, axe_violations

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]


async def test_a_run_shows_its_timeline_and_its_journal(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    await page.open_view(f"runs/{operated.runs['failed']['id']}")
    steps = page.page.locator(".waterfall tbody tr")

    await expect(page.page.locator(".failure")).to_contain_text("no route to the warehouse")
    await expect(steps.filter(has_text="check_stock")).to_have_count(3)
    await expect(steps.filter(has_text="Model").nth(2)).to_be_visible()
    assert await steps.locator("rect.bar").count() == await steps.count()
    await expect(page.page.locator(".journal .entry")).to_have_count(8)
    await page.page.get_by_role("link", name="Runs", exact=True).first.click()
    await expect(page.rows.first).to_be_visible()


async def test_a_run_shows_the_runs_that_it_has_started(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    await page.open_view(f"runs/{operated.runs['family']['id']}")
    tree = page.page.get_by_role("region", name="Sub-workflows")
    await expect(tree.get_by_role("link", name="billing")).to_have_count(2)

    await tree.get_by_role("link", name="billing").first.click()

    await expect(tree).to_contain_text("Started by")
    await expect(page.title).to_have_text("Runs / billing")


async def test_an_operator_cancels_retries_forks_and_exports_a_run(
    operated: Operated, open_operations: OpenOperations
) -> None:
    run = await operated.ask("bob", line("ask", kind="text"))
    page = await open_operations()
    await page.open_view(f"runs/{run['id']}")
    head = page.page.locator(".head")
    await head.get_by_role("button", name="Cancel run").click()
    await page.confirm("Close")
    await expect(head.locator(".status")).to_have_text("Waiting")
    await head.get_by_role("button", name="Cancel run").click()
    await page.confirm("Cancel run")
    await expect(head.locator(".status")).to_have_text("Cancelled")

    await head.get_by_role("button", name="Fork").click()
    await page.confirm("Fork")
    await expect(page.page.locator(".notice")).to_contain_text("New conversation: conv_")
    async with page.page.expect_download() as downloaded:
        await head.get_by_role("button", name="Export").click()
    file = await downloaded.value
    assert file.suggested_filename == f"{run['id']}.jsonl"
    exported = await asyncio.to_thread(Path(await file.path()).read_text, encoding="utf-8")
    assert len([json.loads(one) for one in exported.splitlines()]) > 3

    await head.get_by_role("button", name="Retry").click()
    await page.confirm("Retry")
    await expect(head.locator(".status")).to_have_text("Waiting")
    assert not page.page.url.endswith(run["id"])
    await page.page.locator(".open-calls textarea").fill("red")
    await page.page.get_by_role("button", name="Answer").click()
    await expect(head.locator(".status")).to_have_text("Completed")


async def failed_message(operated: Operated, attempts: int) -> int:
    """Wait until a message has failed more often; return how often."""
    while True:
        found = await operated.request("GET", "v1/admin/outbox?state=failed")
        if found["data"] and (tried := found["data"][0]["attempts"]) > attempts:
            return int(tried)
        await asyncio.sleep(0.2)


async def test_a_reply_with_many_calls_is_one_line_of_the_journal(
    operated: Operated, open_operations: OpenOperations
) -> None:
    calls = "\n".join([line("list_orders")] * 3)
    run = await operated.ask("ann", calls, "refunds")
    page = await open_operations()
    await page.open_view(f"runs/{run['id']}")

    entries = page.page.locator(".journal .entry")
    await expect(entries).to_have_count(7)
    await expect(entries.nth(1)).to_contain_text("Model called list_orders (3 times)")


async def test_a_time_is_local_and_has_utc_in_its_title(
    operated: Operated, open_operations: OpenOperations
) -> None:
    run = operated.runs["failed"]
    page = await open_operations(timezone_id="Asia/Kolkata")
    await page.open_view(f"runs/{run['id']}")

    started = page.page.locator(".facts time")
    at = datetime.fromtimestamp(run["created_at"], UTC)
    local = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await expect(started).to_contain_text(f"{local:%H:%M}")
    title = await started.get_attribute("title")
    assert title is not None
    assert title.endswith(f"({at:%Y-%m-%d %H:%M:%S} UTC)")


async def test_a_run_that_does_not_exist_is_an_error_without_parts(
    open_operations: OpenOperations,
) -> None:
    page = await open_operations()
    await page.page.goto(f"{page.url}operations#runs/resp_{'0' * 44}1")

    await expect(page.page.get_by_role("alert")).to_contain_text("No run resp_000")
    await expect(page.page.get_by_role("heading", name="Timeline")).to_be_hidden()
    await expect(page.page.get_by_text("The journal is empty.")).to_be_hidden()


async def test_the_outbox_sends_a_message_again(
    operated: Operated, open_operations: OpenOperations
) -> None:
    attempts = await failed_message(operated, 0)
    page = await open_operations()
    await page.open_view("outbox?state=failed")
    await expect(page.cells("Message")).to_contain_text("127.0.0.1")

    await page.page.get_by_role("button", name="Retry").click()

    await failed_message(operated, attempts)
    await page.page.get_by_label("State").select_option("dead")
    await expect(page.page.get_by_text("There are no such messages.")).to_be_visible()


async def test_the_inbox_answers_for_all_principals(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    await page.open_view("inbox")
    cards = page.page.locator(".open-calls > li")
    await expect(cards).to_have_count(3)
    await page.take_screenshot("operations-inbox")

    approval = cards.filter(has=page.page.get_by_role("heading", name="Allow pay?"))
    await approval.get_by_role("button", name="Allow").click()
    await expect(approval.locator(".decision")).to_have_text("Allowed.")
    colour = cards.filter(has=page.page.get_by_role("heading", name="Which colour?"))
    await colour.get_by_label("red").check()
    await colour.get_by_role("button", name="Answer").click()
    await expect(colour.locator(".decision")).to_contain_text("Answered: red")
    delivery = cards.filter(has=page.page.get_by_role("heading", name="Which delivery?"))
    await expect(delivery.locator(".about")).to_contain_text("orders of bob")
    await delivery.get_by_label("name").fill("Ann")
    await delivery.get_by_label("pieces").fill("9")
    for choice in ("small", "Yes"):
        await delivery.get_by_label(choice).check()
    await delivery.get_by_label("street").fill("Long Road")
    await delivery.get_by_role("button", name="Answer").click()
    await expect(delivery.locator(".problem")).to_contain_text("3")
    await delivery.get_by_label("pieces").fill("2")
    await delivery.get_by_role("button", name="Answer").click()
    await expect(delivery.locator(".decision")).to_contain_text("Answered")

    await page.page.reload()
    await expect(page.page.get_by_text("Nothing waits for a person.")).to_be_visible()
    await page.open_view(f"runs/{operated.runs['family']['id']}")
    await expect(page.page.locator(".head .status")).to_have_text("Completed")
    await expect(page.page.locator(".journal .entry")).to_have_count(11)
    await page.take_screenshot("operations-run")
    dark = await open_operations(viewport=PHONE, color_scheme="dark")
    await dark.open_view(f"runs/{operated.runs['family']['id']}")
    await dark.page.get_by_role("heading", name="Timeline").scroll_into_view_if_needed()
    await dark.take_screenshot("operations-dark")


async def test_markup_in_names_and_errors_is_text(
    operated: Operated, open_operations: OpenOperations
) -> None:
    await start_hostile_runs(operated)
    page = await open_operations()
    shown = page.page.locator("#content")
    await page.open_view("runs?status=failed")
    await expect(page.cells("Principal").filter(has_text="img")).to_have_text(HOSTILE)
    error = f"three times in a row: {HOSTILE}\\u202e"
    await expect(page.cells("Status").filter(has_text="img")).to_contain_text(error)
    for name, place in (("tool", ".waterfall"), ("error", ".failure"), ("principal", ".facts")):
        await page.open_view(f"runs/{operated.runs[name]['id']}")
        await expect(page.page.locator(place)).to_contain_text(HOSTILE)
        await expect(page.page.locator(".journal .entry").first).to_be_visible()
        assert await shown.locator("img, script").count() == 0
    await page.open_view("inbox")
    await expect(shown).to_contain_text(f"orders of {HOSTILE}")


async def test_axe_finds_no_violation_in_a_run(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations(bypass_csp=True)
    await page.open_view(f"runs/{operated.runs['failed']['id']}")
    await expect(page.page.locator(".journal .entry").first).to_be_visible()

    assert await axe_violations(page.page) == []
