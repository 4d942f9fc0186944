"""Apps on one embedded database for each test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.app.shop import OpenApp, scripted, shop, shop_settings
from twelvefold import App
from twelvefold.core import Model


@pytest.fixture
async def open_app(tmp_path: Path) -> AsyncIterator[OpenApp]:
    """Open an app with a scripted model, or another one; each is a process of its own."""
    async with AsyncExitStack() as stack:

        async def open_app(*replies: Any, model: Model | None = None) -> App:
            settings, model = shop_settings(tmp_path), model or scripted(*replies)
            return await stack.enter_async_context(App([shop], settings=settings, model=model))

        yield open_app
