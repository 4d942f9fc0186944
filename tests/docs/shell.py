"""Runs the blocks of a page in order in one directory, and compares their output.

Only standard output is compared; the log is on standard error. The ports of a page are replaced by
free ones.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.docs.pages import ROOT, Block, blocks
from tests.ports import free_port

TIMEOUT_S = 900
ANY = "…"
NOT_LINKED = {".git", ".venv", ".env", ".services", "dist", "site", "twelvefold.db"}


class PageShell:
    """A directory and an environment for a page, without this machine's settings.

    `mysql_port` is the port of the database, if the page needs one.
    """

    def __init__(self, directory: Path, *, mysql_port: int = 3306) -> None:
        self.home, self.work = directory / "home", directory / "work"
        self._kept = directory / "blocks"
        for made in (self.home, self.work, self._kept):
            made.mkdir(parents=True)
        self._web_port = free_port()
        self._ports = {"8000": str(self._web_port), "3306": str(mysql_port)}
        self.environ = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "PORT": str(self._web_port),
            "TERM": "dumb",
        }

    def with_program(self) -> "PageShell":
        """Put the `twelvefold` command on the PATH."""
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{self.environ['PATH']}"
        return self

    def with_checkout(self) -> "PageShell":
        """Make the initialised repository the working directory."""
        for path in ROOT.iterdir():
            if path.name not in NOT_LINKED and not path.name.startswith("twelvefold.db"):
                (self.work / path.name).symlink_to(path)
        venv = self.work / ".venv"
        venv.mkdir()
        (venv / "bin").symlink_to(Path(sys.executable).parent)
        (venv / ".ready").touch()  # so that no `make` installs the project from there
        return self

    def run(self, page: Path) -> None:
        """Run every block of the page that has no reason not to. Raises AssertionError."""
        steps = [block for block in blocks(page) if block.reason is None]
        script = self._kept / "page.sh"
        script.write_text("\n".join(self._lines(steps)))
        status = run_script(script, self.work, self.environ, TIMEOUT_S)
        assert status == 0, f"exit status {status}; {self._last(steps)}"
        self._compare(steps)

    def _lines(self, steps: Sequence[Block]) -> list[str]:
        lines = []
        for number, block in enumerate(steps):
            kept = self._kept / str(number)
            kept.write_text(self._with_free_ports(block.text))
            if block.language == "sh":
                lines += [f"exec >{kept}.out 2>{kept}.err", kept.read_text()]
            elif block.file:
                lines.append(f"cp {kept} {block.file}")
        return lines

    def _with_free_ports(self, text: str) -> str:
        return re.sub(
            r"(?<=127\.0\.0\.1:)\d+", lambda port: self._ports.get(port[0], port[0]), text
        )

    def _last(self, steps: Sequence[Block]) -> str:
        ran = [n for n in range(len(steps)) if (self._kept / f"{n}.out").exists()]
        kept = self._kept / str(ran[-1])
        output = [kept.with_suffix(kind).read_text() for kind in (".out", ".err")]
        return f"{steps[ran[-1]]}:\n{steps[ran[-1]].text}\n" + "\n".join(output)

    def _compare(self, steps: Sequence[Block]) -> None:
        for number, block in enumerate(steps):
            if block.language == "text" and not block.file:
                printed = (self._kept / f"{number - 1}.out").read_text()
                shown = self._with_free_ports(block.text)
                assert matches(shown, printed), f"{block}\nshown:\n{shown}\nprinted:\n{printed}"


def matches(shown: str, printed: str) -> bool:
    """Whether the output matches; … matches any text in a line, or any lines."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == ANY else ".*?".join(map(re.escape, line.split(ANY))) + "\n"
        for line in stripped(shown)
    ]
    return (
        re.fullmatch("".join(lines), "".join(f"{line}\n" for line in stripped(printed))) is not None
    )


def stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def run_script(
    script: Path,
    work: Path,
    environ: Mapping[str, str],
    timeout_s: float,
    output: Path | None = None,
) -> int:
    """Run a script up to its first failure, in its own session; return the exit status.

    Its output goes to the file `output`, if given, else to this process's output.
    """
    with ExitStack() as files:
        out = files.enter_context(output.open("wb")) if output else None
        process = subprocess.Popen(
            ["bash", "-eo", "pipefail", script],
            cwd=work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s)
        finally:
            # The session has only processes that the script started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
