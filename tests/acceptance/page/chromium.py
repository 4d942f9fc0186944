"""Chromium for the tests of the page: found, or installed where that is a matter of one command.

CHROMIUM names another one.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELSEWHERE = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)
INSTALL_S = 300


class ChromiumError(Exception):
    """There is no browser; the message says how to get one."""


def chromium() -> str:
    """The path of a Chromium. Raises ChromiumError."""
    path = next(_found(), None)
    if path is None:
        _install()
        path = next(_found(), None)
    if path is None:
        raise ChromiumError("apt-get installed chromium, and there is none on the PATH")
    return path


def _found() -> Iterator[str]:
    if named := os.environ.get("CHROMIUM"):
        yield named
    yield from filter(None, map(shutil.which, NAMES))
    yield from (str(path) for path in ELSEWHERE if path.exists())


def _install() -> None:
    """As `tests.servers` does with MariaDB: on Debian, for root and for whoever may become root."""
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (become and not shutil.which("sudo")):
        raise ChromiumError(
            "the tests of the page need Chromium: install it, or name one in CHROMIUM"
        )
    print("installing chromium", file=sys.stderr)
    # An index that cannot be brought up to date may still have the package.
    subprocess.run([*become, "apt-get", "update"], capture_output=True, timeout=INSTALL_S)
    apt_get = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    done = subprocess.run(
        [*become, *apt_get, "install", "-y", "--no-install-recommends", "chromium"],
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ChromiumError(
            "the tests of the page need Chromium, and `apt-get install chromium` failed: "
            + done.stderr.strip()[-500:]
        )
