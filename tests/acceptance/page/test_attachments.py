"""Images and files at the page: chosen, pasted or dropped, and shown again."""

import random
import struct
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.acceptance.page.chat_page import ChatPage
from tests.acceptance.page.conftest import OpenChat
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel
from tests.acceptance.page.test_appearance import PHONE, axe_violations

# The first test may have to install the browser.
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.browser,
    pytest.mark.timeout(900),
]
RECEIPT = (
    ("Corner Shop", 28, 40),
    ("1  lamp       24.00", 18, 90),
    ("2  bulbs       7.80", 18, 120),
    ("total   USD   31.80", 18, 170),
)
DRAW = """async (lines) => {
    const canvas = Object.assign(document.createElement("canvas"), {width: 300, height: 210});
    const context = canvas.getContext("2d");
    context.fillStyle = "#fffef6";
    context.fillRect(0, 0, 300, 210);
    context.fillStyle = "#222";
    for (const [text, size, y] of lines) {
        context.font = `${size}px monospace`;
        context.fillText(text, 24, y);
    }
    return canvas.toDataURL("image/png").split(",")[1];
}"""
TRANSFER = """([name, type, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, {type}));
    return transfer;
}"""


def png(width: int, height: int, noise: bool = False) -> bytes:
    """Return a PNG; with noise it does not compress."""
    noisy = random.Random(1)
    row = b"\x30\x80\xc0" * width
    rows = b"".join(b"\0" + (noisy.randbytes(width * 3) if noise else row) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    parts = (b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


async def choose(chat: ChatPage, *files: Any) -> None:
    """Choose files as with the button."""
    async with chat.page.expect_file_chooser() as chooser:
        await chat.page.get_by_role("button", name="Attach images or files").click()
    await (await chooser.value).set_files(files)


def named(name: str, data: bytes, type: str) -> dict[str, Any]:
    return {"name": name, "mimeType": type, "buffer": data}


DOT = named("dot.png", png(240, 160), "image/png")


async def test_a_message_with_an_image_and_a_file(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    drawn = b64decode(await chat.page.evaluate(DRAW, RECEIPT))
    await choose(chat, named("receipt.png", drawn, "image/png"))
    await choose(chat, named("order.md", b"# Order A-17\n", "text/markdown"))
    await expect(chat.page.locator("#attachments li")).to_have_count(2)
    await chat.field.fill("Does the receipt match the order?")
    await chat.field.press("Enter")
    await chat.wait_for_reply()
    await expect(chat.steps).to_have_count(3)
    await chat.take_screenshot("attachments")

    for _ in range(2):
        message = chat.page.locator(".message.user")
        await expect(message).to_contain_text("order.md (text/markdown, 13 bytes)")
        image = message.locator("img")
        assert await image.evaluate("(one) => one.naturalWidth") == 300
        assert "image/png" in (await image.get_attribute("alt") or "")
        await expect(chat.answers).to_contain_text("I cannot see images")
        await chat.step(1).locator("summary").click()
        await expect(chat.step(1)).to_contain_text("[Image (image/png,")
        await chat.page.reload()
    await expect(chat.page.locator("#attachments")).to_be_hidden()
    assert "base64" not in site.log()


async def test_files_are_pasted_and_dropped(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    for target, event, member, name in (
        ("#message", "paste", "clipboardData", "pasted.png"),
        ("#chat", "drop", "dataTransfer", "dropped.png"),
    ):
        data = b64encode(png(8, 8)).decode()
        transfer = await chat.page.evaluate_handle(TRANSFER, [name, "image/png", data])
        await chat.page.locator(target).evaluate(
            """(element, [type, member, transfer]) => {
                const event = new Event(type, {bubbles: true, cancelable: true});
                Object.defineProperty(event, member, {value: transfer});
                element.dispatchEvent(event);
            }""",
            [event, member, transfer],
        )
    await expect(chat.page.locator("#attachments img")).to_have_count(2)
    await chat.field.press("Enter")
    await chat.wait_for_reply()

    await expect(chat.page.locator(".message.user img")).to_have_count(2)


async def test_attachments_are_removed_with_the_keyboard(site: Site, open_chat: OpenChat) -> None:
    chat = await open_chat(site)
    await chat.open()
    await choose(chat, DOT)
    remove = chat.page.get_by_role("button", name="Remove image")

    await remove.focus()
    await chat.page.keyboard.press("Enter")

    await expect(chat.page.locator("#attachments")).to_be_hidden()
    await expect(chat.page.locator("#attach")).to_be_focused()
    await expect(chat.page.locator("#announcer")).to_contain_text("Attachment removed")
    await expect(chat.button).to_have_attribute("aria-disabled", "true")


async def test_a_large_image_is_scaled_down_and_a_large_file_is_refused(
    site: Site, open_chat: OpenChat
) -> None:
    chat = await open_chat(site)
    await chat.open()
    await choose(chat, named("photo.png", png(2400, 600, noise=True), "image/png"))
    await expect(chat.page.locator("#attachments img")).to_have_count(1)
    assert await chat.page.locator("#attachments img").evaluate("(one) => one.naturalWidth") == 2048
    await choose(chat, named("big.txt", b"x" * 3_000_001, "text/plain"))
    too_large = "ig.txt has 3,000,001 bytes; 3,000,000 is the most"
    await expect(chat.page.locator("#error-text")).to_contain_text(too_large)
    await choose(chat, named("logo.svg", b"<svg/>", "image/svg+xml"))
    await expect(chat.page.locator("#error-text")).to_contain_text("ogo.svg is not a PNG")

    await chat.field.press("Enter")
    await chat.wait_for_reply()

    await expect(chat.page.locator(".message.user img")).to_have_count(1)


async def test_a_refused_message_comes_back_with_its_files(
    slow_site: Site, model: SlowModel, open_chat: OpenChat
) -> None:
    chat = await open_chat(slow_site)  # its model takes text alone
    await chat.open()
    await expect(chat.page.locator("#attach")).to_be_hidden()
    await chat.page.locator("#files").set_input_files(DOT)  # type: ignore[arg-type]
    await expect(chat.page.locator("#attachments img")).to_have_count(1)
    await chat.send("look")

    await expect(chat.page.locator("#error-text")).to_contain_text("takes no images")
    await expect(chat.field).to_have_value("look")
    await expect(chat.page.locator("#attachments img")).to_have_count(1)
    await expect(chat.page.locator(".message")).to_have_count(0)


async def test_an_image_of_another_server_is_a_link(site: Site, open_chat: OpenChat) -> None:
    url = "https://example.org/receipt.png?a=<b>"
    site.command("run", "--image", url, "What is this?")
    chat = await open_chat(site)
    await chat.page.goto(site.url)
    await chat.page.locator("#conversations a").first.click()

    link = chat.page.locator(".message.user a")

    await expect(link).to_have_text(f"Image: {url}")
    assert await link.get_attribute("rel") == "noopener noreferrer"
    assert await link.get_attribute("target") == "_blank"
    await expect(chat.page.locator(".message img")).to_have_count(0)


async def test_the_setting_hides_the_data(tmp_path: Path, open_chat: OpenChat) -> None:
    site = Site(tmp_path, INPUT_FILES="summary")
    await site.start()
    try:
        chat = await open_chat(site)
        await chat.open()
        await choose(chat, named("dot.png", png(8, 8), "image/png"))
        await chat.send("look")
        await chat.wait_for_reply()
        await chat.page.reload()

        await expect(chat.page.locator(".message.user .file")).to_contain_text("Image (image/png,")
        await expect(chat.page.locator(".message img")).to_have_count(0)
    finally:
        site.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation_with_attachments(
    site: Site, open_chat: OpenChat, scheme: Any
) -> None:
    chat = await open_chat(
        site, color_scheme=scheme, bypass_csp=True, viewport=PHONE, has_touch=True, is_mobile=True
    )
    await chat.open()
    await choose(chat, DOT, named("x <b>.pdf", b"%PDF-1.7\n", "application/pdf"))
    await expect(chat.page.locator("#attachments li")).to_have_count(2)
    await expect(chat.page.locator("#attachments .file")).to_contain_text("x <b>.pdf")
    ignored = ("landmark-one-main", "page-has-heading-one")
    assert await axe_violations(chat.page, *ignored) == []

    await chat.field.press("Enter")
    await chat.wait_for_reply()

    assert await axe_violations(chat.page, *ignored) == []
    assert await chat.page.evaluate("() => document.documentElement.scrollWidth") == 390
