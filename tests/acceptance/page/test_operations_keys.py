"""API keys on the operations page of a real server."""

import pytest
from playwright.async_api import expect

from tests.acceptance.page.conftest import OpenOperations
from tests.acceptance.page.operations_page import HOSTILE, Operated

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(420),
]


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

    await page.page.get_by_role("button", name="Revoke the key robot").click()
    await page.confirm("Revoke")
    await expect(page.row("robot")).to_contain_text("revoked")
    await expect(page.page.get_by_role("button", name="Revoke the key robot")).to_have_count(0)
