"""Runs the commands of every page in their order; `make docs` includes these tests.

The commands of a page in docs/ run in an empty directory, with Twelvefold installed. Those of other
pages run in the repository. Those of the tutorial need only Python and a MySQL server.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, pages
from tests.docs.shell import PageShell
from tests.servers.mariadb import USER, PrivateMariaDB

DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
NETWORK_VARIABLES = re.compile(r"(?i)PIP_|SSL_CERT_|REQUESTS_CA_|.*_PROXY$")
pytestmark = [pytest.mark.pages, pytest.mark.timeout(1_000)]


def with_commands() -> list[Path]:
    return [
        page
        for page in pages()
        if any(block.language == "sh" and block.reason is None for block in blocks(page))
    ]


@pytest.fixture
def mysql(tmp_path: Path) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path / "mariadb") as server:
        yield server


@pytest.mark.parametrize(
    "page",
    [page for page in with_commands() if page != TUTORIAL],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_commands_of_a_page_succeed_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    shell = PageShell(tmp_path / "reader").with_program()
    if not page.is_relative_to(DOCS):
        shell.with_checkout()

    shell.run(page)


def test_the_tutorial_leads_from_an_empty_directory_to_a_resumed_run(
    tmp_path: Path, mysql: PrivateMariaDB
) -> None:
    shell = PageShell(tmp_path / "reader", mysql_port=mysql.port)
    shell.environ |= registry_with_the_wheel(tmp_path / "wheel")
    log_in_as_administrator(shell.home, mysql)
    shell.environ["PATH"] = f"{programs(tmp_path / 'bin')}:{shell.environ['PATH']}"

    shell.run(TUTORIAL)


def registry_with_the_wheel(directory: Path) -> dict[str, str]:
    """Settings of pip: it finds our wheel, and the locked versions of all other packages."""
    build = ["-m", "uv", "build", "--quiet", "--wheel", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, *build, "--python", sys.executable, "--out-dir", directory, ROOT],
        check=True,
    )
    locked = re.findall(r"^\S+==[^\\\n]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    constraints = directory / "constraints.txt"
    constraints.write_text("\n".join(locked))
    return pip_settings() | {"PIP_FIND_LINKS": str(directory), "PIP_CONSTRAINT": str(constraints)}


def pip_settings() -> dict[str, str]:
    """The settings that pip needs on this machine, with its cache of downloads."""
    cache = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True)
    return {
        **{name: value for name, value in os.environ.items() if NETWORK_VARIABLES.match(name)},
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
        "PIP_CACHE_DIR": cache.strip(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # most of it is never imported
    }


def programs(directory: Path) -> Path:
    """A directory with Python, MariaDB's client by its older name, and a `sudo` without effect."""
    client = shutil.which("mysql") or shutil.which("mariadb")
    assert client, "the tutorial needs a mysql client: install mariadb-client-core"
    directory.mkdir()
    (directory / "python3").symlink_to(Path(sys.executable).resolve())
    (directory / "mysql").symlink_to(client)
    sudo = directory / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    return directory


def log_in_as_administrator(home: Path, server: PrivateMariaDB) -> None:
    """Write the file that `mysql` reads, so that it needs no password prompt."""
    _, _, password = server.url.partition(f"{USER}:")
    (home / ".my.cnf").write_text(
        f"[client]\nhost=127.0.0.1\nport={server.port}\nuser={USER}\n"
        f"password={password.partition('@')[0]}\n"
    )
