"""A person at the page: what they do with it, in words, and what is true of every visit."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

PICTURES = os.environ.get("PICTURES")
"""A directory, if the pictures of the docs are to be taken again."""
ANSWER_MS = 30_000


class Visitor:
    """`problems` is what must never be seen: errors in the page, and requests to anywhere else."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            self.problems.append(message.text)

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.problems.append(f"request to {request.url}")

    async def opens(self) -> None:
        await self.page.goto(self.url)
        await expect(self.wishes.first).to_be_visible()

    async def says(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")

    async def waits_for_the_answer(self) -> None:
        await expect(self.button).to_have_text("Send", timeout=ANSWER_MS)

    async def chooses(self, workflow: str) -> None:
        await self.page.get_by_label("Workflow").select_option(workflow)

    async def is_pictured(self, name: str) -> None:
        """Put a picture into the docs, where that was asked for."""
        if PICTURES:
            await self.page.evaluate("() => document.fonts.ready")
            await self.page.wait_for_timeout(400)
            await self.page.screenshot(path=Path(PICTURES) / f"{name}.png")

    @property
    def wishes(self) -> Locator:
        return self.page.locator("#wishes button")

    @property
    def field(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    @property
    def button(self) -> Locator:
        return self.page.locator("#send")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message.assistant")

    @property
    def calls(self) -> Locator:
        return self.page.locator(".call")

    @property
    def steps(self) -> Locator:
        return self.page.locator(".entry")

    def step(self, position: int) -> Locator:
        return self.steps.nth(position - 1)


async def a_visitor(context: BrowserContext, url: str) -> Visitor:
    return Visitor(await context.new_page(), url)
