"""The programs of a MariaDB server: found, or installed from Debian's packages."""

import os
import shutil
import subprocess

from tests.servers.home import ServersError, only_one, say

PACKAGES = ("mariadb-server-core", "mariadb-client-core")  # the second has my_print_defaults


def programs() -> tuple[str, str]:
    found = _find_programs()
    if not found:
        with only_one("install"):
            found = _find_programs() or _install()
    return found


def _find_programs() -> tuple[str, str] | None:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin"])
    mariadbd = shutil.which("mariadbd", path=places)
    install_db = shutil.which("mariadb-install-db", path=places)
    helper = shutil.which("my_print_defaults", path=places)  # mariadb-install-db calls it
    return (mariadbd, install_db) if mariadbd and install_db and helper else None


def _install() -> tuple[str, str]:
    names = " ".join(PACKAGES)
    if not shutil.which("apt-get"):
        raise ServersError("MariaDB is missing: install its server, or set DATABASE_URL")
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and not _may_sudo():
        raise ServersError(
            "MariaDB is missing and only root may install it:"
            f" run `sudo apt-get install {names}`, or set DATABASE_URL"
        )
    say(f"installing {names}")
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    # An index that cannot be brought up to date may still have the packages.
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            [*apt, "-o", "DPkg::Lock::Timeout=300", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    found = _find_programs()
    if done.returncode != 0 or not found:
        say("apt-get says:\n" + "\n".join(done.stdout.splitlines()[-15:]))
        raise ServersError(
            f"apt-get could not install {names}; install MariaDB or set DATABASE_URL"
        )
    return found


def _may_sudo() -> bool:
    if not shutil.which("sudo"):
        return False
    return subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
