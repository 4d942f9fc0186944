"""The page on deployment to a plain machine, line by line, in a temporary directory.

The wheel, the lock, the units and the database are real. `tests/docs/systemd.py` replaces systemd.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.docs.shell import run_script
from tests.docs.test_running import log_in_as_administrator, pip_settings, programs
from tests.ports import free_port
from tests.servers import PrivateMariaDB

PAGE = ROOT / "docs" / "howto" / "deploy.md"
RUN_HERE = "tests/docs/test_deploying.py does it"
SECRET = "hush"
SYSTEMD = ROOT / "tests" / "docs" / "systemd.py"
pytestmark = [pytest.mark.pages, pytest.mark.timeout(1_000)]


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
            (path / name).write_text(f"#!/bin/sh\nexec python3 '{SYSTEMD}' {name} \"$@\"\n")
            (path / name).chmod(0o755)
        self._environ = {
            **pip_settings(),
            "AT": str(at),
            "HOME": str(home),
            "PATH": f"{path}:{os.environ['PATH']}",
            "PORT": self._ports["8000"],
        }

    def run(self) -> str:
        """Run the page's blocks and return their output. Raises AssertionError."""
        script, output = self.work / "page.sh", self.work / "output"
        script.write_text("\n".join(["set -x", *self._steps()]))
        status = run_script(script, self.work, self._environ, 900, output)
        assert status == 0, output.read_text()
        return output.read_text()

    def _steps(self) -> Iterator[str]:
        for number, block in enumerate(blocks(PAGE)):
            if block.reason != RUN_HERE:
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


def test_the_page_installs_configures_and_starts_a_release(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "mariadb") as server:
        machine = Machine(tmp_path / "machine", server)
        build = ["-m", "uv", "build", "--quiet", "--no-build-isolation"]
        subprocess.run(
            [sys.executable, *build, "--python", sys.executable, "--out-dir", machine.work, ROOT],
            check=True,
        )

        output = machine.run()

    assert re.search(r"^tw_[\w-]{20,}$", output, re.MULTILINE)
    assert '"status":"ready"' in output
    assert '"event": "web_ready"' in output
