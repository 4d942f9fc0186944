"""Installs programs that some tests need from Debian's packages."""

import os
import shutil
import subprocess
import sys

TIMEOUT_S = 300


class AptError(Exception):
    """A program is missing and was not installed; the message says what to do."""


def program(name: str) -> str:
    """Return the path of a program; install the package of the same name if it is missing.

    Needs root or sudo for that, as `tests.servers` does for MariaDB. Raises AptError.
    """
    if not shutil.which(name):
        _install(name)
    path = shutil.which(name)
    if path is None:
        raise AptError(f"apt-get installed {name}, but it is not on the PATH")
    return path


def _install(name: str) -> None:
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (become and not shutil.which("sudo")):
        raise AptError(f"these tests need {name}: install it")
    print(f"installing {name}", file=sys.stderr)
    apt_get = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    # Ignored if it fails: an outdated index may still have the package.
    subprocess.run([*apt_get, "update"], capture_output=True, timeout=TIMEOUT_S)
    done = subprocess.run(
        [
            *apt_get,
            "-o",
            "DPkg::Lock::Timeout=120",
            "install",
            "-y",
            "--no-install-recommends",
            name,
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        error = done.stderr.strip()[-500:]
        raise AptError(f"these tests need {name}, and `apt-get install {name}` failed: {error}")
