"""The page in a real browser, on a real server, answered by the demo model.

`PICTURES=docs/images make test ARGS=tests/acceptance/page` takes the pictures of the docs again.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.acceptance.page.chromium import chromium
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel, slow_model
from tests.acceptance.page.visitor import PICTURES, Visitor, a_visitor

Visits = Callable[..., Awaitable[Visitor]]
DESKTOP = {"width": 1440, "height": 900}
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<include>/etc/fonts/fonts.conf</include>
<alias binding="strong"><family>sans</family><prefer><family>Inter</family></prefer></alias>
<alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
<alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
</fontconfig>"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One browser for all tests; each has a profile of its own in it."""
    environ: dict[str, Any] = {**os.environ}
    if PICTURES:
        # Debian's default is wide and old; on a desktop the page has the system's own font. Without
        # the package fonts-inter the pictures are taken with that default.
        fonts = tmp_path_factory.mktemp("fonts") / "fonts.conf"
        fonts.write_text(_FONTS)
        environ["FONTCONFIG_FILE"] = str(fonts)
    # The sandbox needs a user that is not root; nothing is opened but our own page.
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
    """A server as a newcomer has it: the embedded database, the demo model."""
    site = Site(tmp_path)
    await site.start()
    yield site
    site.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def slow_site(tmp_path: Path, model: SlowModel) -> AsyncIterator[Site]:
    """A server whose model takes its time."""
    site = Site(tmp_path, OPENAI_BASE_URL=model.url, OPENAI_API_KEY="none")
    await site.start()
    yield site
    site.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visits]:
    """Send somebody to a site; whatever is wrong with a visit fails the test at its end."""
    visitors: list[Visitor] = []
    async with AsyncExitStack() as stack:

        async def visit(site: Site, **profile: Any) -> Visitor:
            settings = {"viewport": DESKTOP, "locale": "en-GB", **profile}
            context = await stack.enter_async_context(await browser.new_context(**settings))
            context.set_default_timeout(10_000)
            visitors.append(await a_visitor(context, site.url))
            return visitors[-1]

        yield visit
        assert [problem for visitor in visitors for problem in visitor.problems] == []
