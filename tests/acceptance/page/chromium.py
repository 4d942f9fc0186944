"""Find Chromium for the tests of the page, or install it on Debian.

The environment variable CHROMIUM has precedence.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS_PATHS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
INSTALL_TIMEOUT_S = 300


class ChromiumError(Exception):
    """No browser was found or installed; the message has the way to install it."""


def chromium() -> str:
    """Return the path of a Chromium. Raises ChromiumError."""
    path = next(_installed(), None)
    if path is None:
        _install()
        path = next(_installed(), None)
    if path is None:
        raise ChromiumError("apt-get installed chromium, but it is not on the PATH")
    return path


def _installed() -> Iterator[str]:
    if named := os.environ.get("CHROMIUM"):
        yield named
    yield from filter(None, map(shutil.which, NAMES))
    yield from (str(path) for path in MACOS_PATHS if path.exists())


def _install() -> None:
    """Install with apt-get, as root or with sudo, as `tests.servers` installs MariaDB."""
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (become and not shutil.which("sudo")):
        raise ChromiumError(
            "the tests of the page need Chromium: install it, or name one in CHROMIUM"
        )
    print("installing chromium", file=sys.stderr)
    # Ignored if it fails: an outdated index may still have the package.
    subprocess.run([*become, "apt-get", "update"], capture_output=True, timeout=INSTALL_TIMEOUT_S)
    apt_get = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    done = subprocess.run(
        [*become, *apt_get, "install", "-y", "--no-install-recommends", "chromium"],
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ChromiumError(
            "the tests of the page need Chromium, and `apt-get install chromium` failed: "
            + done.stderr.strip()[-500:]
        )
