"""The page object of the tests: locators and actions of the chat page in a browser."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

PICTURES_DIR = os.environ.get("PICTURES")
"""Where to write the screenshots of the docs; None to take none."""
REPLY_TIMEOUT_MS = 120_000


class ChatPage:
    """`problems` collects script errors, policy violations and requests to other servers."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._check_console)
        page.on("request", self._check_request)

    def _check_console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            self.problems.append(message.text)

    def _check_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.problems.append(f"request to {request.url}")

    async def open(self) -> None:
        await self.page.goto(self.url)
        await expect(self.examples.first).to_be_visible()

    async def send(self, text: str) -> None:
        await self.field.fill(text)
        await self.field.press("Enter")

    async def wait_for_reply(self) -> None:
        await expect(self.button).to_have_text("Send", timeout=REPLY_TIMEOUT_MS)

    async def choose_workflow(self, workflow: str) -> None:
        await self.page.get_by_label("Workflow").select_option(workflow)

    async def take_screenshot(self, name: str) -> None:
        """Write a screenshot for the docs if PICTURES is set."""
        if PICTURES_DIR:
            await self.page.evaluate("() => document.fonts.ready")
            await self.page.wait_for_timeout(400)
            await self.page.screenshot(path=Path(PICTURES_DIR) / f"{name}.png")

    @property
    def examples(self) -> Locator:
        return self.page.locator("#examples button")

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


async def new_chat_page(context: BrowserContext, url: str) -> ChatPage:
    return ChatPage(await context.new_page(), url)
