"""Fixtures: a real browser, and a real server with the demo model.

`PICTURES=docs/images make test-page` renews the screenshots of the docs.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.acceptance.page.chat_page import PICTURES_DIR, ChatPage, new_chat_page
from tests.acceptance.page.chromium import chromium
from tests.acceptance.page.operations_page import (
    Operated,
    OperationsPage,
    new_operations_page,
    operated_site,
)
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel, slow_model

OpenChat = Callable[..., Awaitable[ChatPage]]
OpenOperations = Callable[..., Awaitable[OperationsPage]]
DESKTOP = {"width": 1440, "height": 900}
TIMEOUT_MS = 60_000
"""For each step and each expectation. Only a hang takes as long, on any machine."""
expect.set_options(timeout=TIMEOUT_MS)
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include>/etc/fonts/fonts.conf</include>
<alias binding="strong"><family>sans</family><prefer><family>Inter</family></prefer></alias>
<alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
<alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
</fontconfig>"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One browser for all tests, with a new profile for each."""
    environ: dict[str, Any] = {**os.environ}
    if PICTURES_DIR:
        # Debian's default font is wide; a desktop's system font is closer to Inter. Without the
        # package fonts-inter the screenshots have Debian's default.
        fonts = tmp_path_factory.mktemp("fonts") / "fonts.conf"
        fonts.write_text(_FONTS)
        environ["FONTCONFIG_FILE"] = str(fonts)
    # The sandbox does not work as root; the tests open only the page itself.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(
            executable_path=chromium(), args=flags, env=environ
        )
        yield found
        await found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def model() -> AsyncIterator[SlowModel]:
    async with slow_model() as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server with default settings: the embedded database, the demo model."""
    site = Site(tmp_path)
    await site.start()
    yield site
    site.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def slow_site(tmp_path: Path, model: SlowModel) -> AsyncIterator[Site]:
    """A server with the slow model."""
    site = Site(tmp_path, OPENAI_BASE_URL=model.url, OPENAI_API_KEY="none")
    await site.start()
    yield site
    site.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(browser: Browser) -> AsyncIterator[OpenChat]:
    """Open the page with a new profile; its problems fail the test at its end."""
    chats: list[ChatPage] = []
    async with AsyncExitStack() as stack:

        async def open_chat(site: Site, **profile: Any) -> ChatPage:
            settings = {"viewport": DESKTOP, "locale": "en-GB", **profile}
            context = await stack.enter_async_context(await browser.new_context(**settings))
            context.set_default_timeout(TIMEOUT_MS)
            chats.append(await new_chat_page(context, site.url))
            return chats[-1]

        yield open_chat
        assert [problem for chat in chats for problem in chat.problems] == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operated]:
    """A server with runs of several principals, for the tests of a module."""
    async with operated_site(tmp_path_factory.mktemp("operated")) as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="session")
async def open_operations(browser: Browser, operated: Operated) -> AsyncIterator[OpenOperations]:
    """Open the operations page with a key; its problems fail the test at its end."""
    pages: list[OperationsPage] = []
    async with AsyncExitStack() as stack:

        async def open_page(key: str = operated.keys["olga"], **profile: Any) -> OperationsPage:
            settings = {"viewport": DESKTOP, "locale": "en-GB", **profile}
            context = await stack.enter_async_context(await browser.new_context(**settings))
            context.set_default_timeout(TIMEOUT_MS)
            pages.append(await new_operations_page(context, operated.site.url, key))
            return pages[-1]

        yield open_page
        assert [problem for page in pages for problem in page.problems] == []
