"""The page on deploying to a plain machine, line by line, below a directory of its own.

The wheel, the lock, the units and the database are real; systemd is `tests/docs/systemd.py`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.docs.shell import free_port, run_script
from tests.docs.test_running import log_in_as_administrator, pip_settings, programs
from tests.servers import PrivateMariaDB

PAGE = ROOT / "docs" / "howto" / "deploy.md"
OURS = "tests/docs/test_deploying.py does it"
SECRET = "hush"
STANDS_IN = ROOT / "tests" / "docs" / "systemd.py"
pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]


class Machine:
    """A machine without Twelvefold, with a release's files in root's working directory."""

    def __init__(self, at: Path, server: PrivateMariaDB) -> None:
        self.work, self._at, home = at / "release", at, at / "root"
        for made in (self.work, home, at / "etc/systemd/system"):
            made.mkdir(parents=True)
        self._ports = {"8000": str(free_port()), "3306": str(server.port)}
        log_in_as_administrator(home, server)
        path = programs(at / "bin")
        for name in ("systemctl", "systemd-run", "journalctl"):
            (path / name).write_text(f"#!/bin/sh\nexec python3 '{STANDS_IN}' {name} \"$@\"\n")
            (path / name).chmod(0o755)
        self._environ = {
            **pip_settings(),
            "AT": str(at),
            "HOME": str(home),
            "PATH": f"{path}:{os.environ['PATH']}",
            "PORT": self._ports["8000"],
        }

    def run(self) -> str:
        """Do what the page says, and return what was printed. Raises AssertionError."""
        script, told = self.work / "page.sh", self.work / "told"
        script.write_text("\n".join(["set -x", *self._steps()]))
        status = run_script(script, self.work, self._environ, 300, told)
        assert status == 0, told.read_text()
        return told.read_text()

    def _steps(self) -> Iterator[str]:
        for number, block in enumerate(blocks(PAGE)):
            if block.reason != OURS:
                continue
            kept = self.work / f"block{number}"
            kept.write_text(self._here(block))
            match block.language:
                case "sql":
                    yield f"mysql <{kept}"
                case "ini":
                    yield f"cat {kept} >$AT/etc/twelvefold/env"
                case _:
                    yield f". {kept}"

    def _here(self, block: Block) -> str:
        text = re.sub(r"(?<!\w)/(?=(?:opt|etc)/)", f"{self._at}/", block.text)
        text = re.sub(r"127\.0\.0\.1:(\d+)", lambda at: f"127.0.0.1:{self._ports[at[1]]}", text)
        if block.language == "sh":
            return text
        # On the server of tests, twelvefold is the administrator.
        return re.sub(r"\btwelvefold\b", "desk", text).replace("…", SECRET)


def test_a_release_is_installed_configured_and_started_as_the_page_says(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "mariadb") as server:
        machine = Machine(tmp_path / "machine", server)
        build = ["-m", "uv", "build", "--quiet", "--no-build-isolation"]
        subprocess.run(
            [sys.executable, *build, "--python", sys.executable, "--out-dir", machine.work, ROOT],
            check=True,
        )

        told = machine.run()

    assert re.search(r"^tw_[\w-]{20,}$", told, re.MULTILINE)
    assert '"status":"ready"' in told
    assert '"event": "web_ready"' in told
