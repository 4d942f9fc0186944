"""The views of the operations page on a real server: workers, usage, keys and budgets."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from tests.acceptance.page.conftest import OpenOperations
from tests.acceptance.page.operations_page import HOSTILE, Operated

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]


async def test_workers_are_listed_with_their_heartbeats(open_operations: OpenOperations) -> None:
    page = await open_operations()
    await page.open_view("workers")

    await expect(page.rows).to_have_count(2)
    assert sorted(await page.cells("Kind").all_inner_texts()) == ["web", "worker"]
    await expect(page.cells("Last heartbeat").first).to_contain_text("ago")
    await expect(page.page.get_by_text("Silent")).to_have_count(0)


DAYS = """insert into usage_days
    (day, workflow, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
    values (?, ?, ?, 0, ?, ?, 0, ?)"""
PRINCIPALS = DAYS.replace("usage_days", "usage_principals").replace("workflow", "principal")


def insert_usage(operated: Operated) -> int:
    """Add usage of earlier days; return the number of runs."""
    today, days, principals, total = datetime.now(UTC).date(), [], [], 0
    for ago in range(1, 29):
        day = (today - timedelta(days=ago)).isoformat()
        for at, workflow in enumerate(("enrolment", "support", "billing")):
            runs = (40 + ago * 7 % 19 * 6) // (at + 1)
            sums = (runs, runs * 840, runs * 160, runs * 4200)
            days.append((day, workflow, *sums))
            principals.append((day, ("ann", "bob", "carl")[at], *sums))
            total += runs
    operated.site.insert(DAYS, days)
    operated.site.insert(PRINCIPALS, principals)
    return total


async def test_usage_is_drawn_by_day_workflow_and_principal(
    operated: Operated, open_operations: OpenOperations
) -> None:
    total = insert_usage(operated)
    page = await open_operations()
    await page.open_view("usage?days=90")
    chart = page.page.get_by_role("img", name="Tokens by day")
    await expect(chart.locator("g")).to_have_count(90)
    days = page.page.get_by_role("region", name="Tokens by day")
    await days.get_by_text("Table").click()
    assert await days.locator("tbody tr").count() >= 28

    await page.page.get_by_label("Period").select_option("Last 30 days")
    await expect(chart.locator("g")).to_have_count(30)
    await page.take_screenshot("operations-usage")
    await page.page.get_by_label("Show").select_option("Runs")
    await expect(page.page.get_by_role("img", name="Runs by day")).to_be_visible()
    runs = await page.page.locator(".facts dd").first.inner_text()
    assert int(runs.replace(",", "")) >= total
    principals = page.page.get_by_role("region", name="By principal")
    await expect(principals.locator(".bars")).to_contain_text("carl")


@pytest.mark.parametrize("days", ["400", "1e12", "-5", "0.5", "constructor"])
async def test_usage_has_the_default_period_if_the_address_has_no_valid_one(
    open_operations: OpenOperations, days: str
) -> None:
    page = await open_operations()

    await page.open_view(f"usage?days={days}&measure={days}")

    chart = page.page.get_by_role("img", name="Tokens by day")
    await expect(chart.locator("g")).to_have_count(30)
    await expect(page.page.get_by_label("Period")).to_have_value("")
    await expect(page.page.get_by_label("Show")).to_have_value("")
    await expect(page.page.get_by_role("alert")).to_be_hidden()


async def test_large_sums_are_short(open_operations: OpenOperations) -> None:
    page = await open_operations()
    tokens = {"input_tokens": 91_080_000_003_509, "output_tokens": 999_999_999}
    row = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "workflow": "shop", "principal": "ann"}
    answer = {"data": [row | tokens | {"runs": 1, "failed": 0, "cost_usd": 2_400_000_005.16}]}
    await page.page.route("**/v1/admin/usage?*", lambda route: route.fulfill(json=answer))

    await page.open_view("usage?measure=cost")

    totals = page.page.locator(".facts dd")
    await expect(totals).to_have_text(["1", "91.1tn", "999,999,999", "$2.4B"])
    await expect(totals.nth(1).locator("span")).to_have_attribute("title", "91,080,000,003,509")
    await expect(page.page.locator(".columns .axis span").first).to_have_text("$4B")


async def test_markup_in_the_name_of_a_principal_is_drawn_as_text(
    operated: Operated, open_operations: OpenOperations
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    operated.site.insert(PRINCIPALS, [(yesterday.isoformat(), HOSTILE, 1, 1, 1, 1)])
    page = await open_operations()
    await page.open_view("usage?days=365")

    await expect(page.page.locator(".bars").last).to_contain_text(HOSTILE)
    assert await page.page.locator("#content :is(img, script)").count() == 0


async def test_a_key_is_created_rotated_and_revoked(
    operated: Operated, open_operations: OpenOperations
) -> None:
    page = await open_operations()
    dialog = page.page.get_by_role("dialog")
    await page.open_view("keys")
    await page.page.get_by_role("button", name="Create key").click()
    await dialog.get_by_label("Name", exact=True).fill("robot")
    await dialog.get_by_role("textbox", name="Principal").fill(HOSTILE)
    await dialog.get_by_text("Limits").click()
    await dialog.get_by_label("Runs at once").fill("2")
    await page.confirm("Create")
    operated.keys["robot"] = await dialog.get_by_role("textbox").input_value()
    await page.confirm("Done")
    await expect(page.page.locator("dialog .secret")).to_have_count(0)
    assert operated.keys["robot"] not in await page.page.content()
    await expect(page.row("robot")).to_contain_text(HOSTILE)
    await expect(page.row("robot")).to_contain_text("2 runs at once")
    await operated.request("GET", "v1/models", "robot")

    await page.page.get_by_role("button", name="Rotate the key robot").click()
    await page.confirm("Rotate")
    rotated = await dialog.get_by_role("textbox").input_value()
    assert rotated != operated.keys["robot"]
    await page.confirm("Done")
    await expect(page.row("robot")).to_contain_text("old secret until")
    await expect(page.page.get_by_role("button", name="Rotate the key robot")).to_be_focused()

    await page.page.get_by_role("button", name="Revoke the key robot").click()
    await page.confirm("Revoke")
    await expect(page.row("robot")).to_contain_text("revoked")
    await expect(page.page.get_by_role("button", name="Revoke the key robot")).to_have_count(0)


async def test_a_budget_is_set_changed_and_removed(open_operations: OpenOperations) -> None:
    page = await open_operations()
    dialog = page.page.get_by_role("dialog")
    await page.open_view("budgets")
    await expect(page.page.get_by_text("There is no budget.")).to_be_visible()
    await page.page.get_by_role("button", name="Set budget").click()
    await dialog.get_by_label("Principal").fill(HOSTILE)
    await dialog.get_by_label("Tokens").fill("20000")
    await page.confirm("Set")
    await expect(page.cells("Covers")).to_have_text(f"principal {HOSTILE}")
    await expect(page.cells("Tokens")).to_contain_text("0 of 20,000")

    await page.page.get_by_role("button", name="Change the budget").click()
    await expect(dialog.get_by_label("Tokens")).to_have_value("20000")
    await dialog.get_by_label("Tokens").fill("30000")
    await page.confirm("Set")
    await expect(page.cells("Tokens")).to_contain_text("of 30,000")

    await page.page.get_by_role("button", name="Remove the budget").click()
    await page.confirm("Remove")
    await expect(page.page.get_by_text("There is no budget.")).to_be_visible()
