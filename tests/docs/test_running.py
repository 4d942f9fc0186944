"""The commands of every page, run in their order as a reader would; `make docs` has these.

A page of docs/ is read by somebody who has installed Twelvefold and stands in an empty directory,
the others by somebody who stands in the repository. The tutorial's reader has nothing but Python
and a MySQL.
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
OF_THE_NETWORK = re.compile(r"(?i)PIP_|SSL_CERT_|REQUESTS_CA_|.*_PROXY$")
pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]


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
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    shell = PageShell(tmp_path / "reader").with_program()
    if not page.is_relative_to(DOCS):
        shell.with_checkout()

    shell.run(page)


def test_the_tutorial_leads_from_an_empty_directory_to_a_run_that_went_on(
    tmp_path: Path, mysql: PrivateMariaDB
) -> None:
    shell = PageShell(tmp_path / "reader", mysql_port=mysql.port)
    shell.environ |= registry_with_the_wheel(tmp_path / "wheel")
    log_in_as_administrator(shell.home, mysql)
    shell.environ["PATH"] = f"{programs(tmp_path / 'bin')}:{shell.environ['PATH']}"

    shell.run(TUTORIAL)


def registry_with_the_wheel(directory: Path) -> dict[str, str]:
    """Settings of pip: our wheel is to be had, and of all else the versions of the lock."""
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
    """What pip needs to know of this machine, with its cache of downloads."""
    cache = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True)
    return {
        **{name: value for name, value in os.environ.items() if OF_THE_NETWORK.match(name)},
        "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
        "PIP_CACHE_DIR": cache.strip(),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # most of it is never imported
    }


def programs(directory: Path) -> Path:
    """The reader's programs: the Python of these tests, and MariaDB's client by its older name."""
    client = shutil.which("mysql") or shutil.which("mariadb")
    assert client, "the tutorial needs a mysql client: install mariadb-client-core"
    directory.mkdir()
    (directory / "python3").symlink_to(Path(sys.executable).resolve())
    (directory / "mysql").symlink_to(client)
    return directory


def log_in_as_administrator(home: Path, server: PrivateMariaDB) -> None:
    """What the reader's `mysql` reads, so that it asks for no password."""
    _, _, password = server.url.partition(f"{USER}:")
    (home / ".my.cnf").write_text(
        f"[client]\nhost=127.0.0.1\nport={server.port}\nuser={USER}\n"
        f"password={password.partition('@')[0]}\n"
    )
