"""Find Chromium for the tests of the page, or install it on Debian.

The environment variable CHROMIUM has precedence.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.apt import program

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS_PATHS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def chromium() -> str:
    """Return the path of a Chromium. Raises AptError."""
    return next(_installed(), None) or program("chromium")


def _installed() -> Iterator[str]:
    if named := os.environ.get("CHROMIUM"):
        yield named
    yield from filter(None, map(shutil.which, NAMES))
    yield from (str(path) for path in MACOS_PATHS if path.exists())
