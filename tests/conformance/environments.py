"""What the clients run in: a virtual environment or a `node_modules` for each folder beside this.

An environment is kept beside the tests' servers, and made again once its lock has changed.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers.home import ServersError, home, only_one, say

HERE = Path(__file__).parent
NODE_HINT = "install Node 20 or newer with npm (Debian: `apt-get install nodejs npm`)"
INSTALL_S = 900


def command(folder: str, script: str) -> list[str]:
    """What runs a script of the folder in its environment."""
    if folder == "node":
        return [_program("node"), str(_node(HERE / folder) / script)]
    return [str(_python(HERE / folder) / "bin" / "python"), str(HERE / folder / script)]


def _python(folder: Path) -> Path:
    lock = folder / "requirements.txt"

    def make(place: Path) -> None:
        _run([sys.executable, "-m", "venv", str(place)])
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--require-hashes", "-r", str(lock)])

    return _kept(folder.name, [sys.version.encode(), lock.read_bytes()], make)


def _node(folder: Path) -> Path:
    npm = _program("npm")
    locks = [folder / name for name in ("package.json", "package-lock.json", ".npmrc")]

    def make(place: Path) -> None:
        place.mkdir()
        for lock in locks:
            shutil.copy(lock, place)
        _run([npm, "ci", "--no-audit", "--no-fund"], place)

    place = _kept(folder.name, [lock.read_bytes() for lock in locks], make)
    # An import is looked for beside the file that has it.
    for script in folder.glob("*.mjs"):
        shutil.copy(script, place)
    return place


def _kept(name: str, locks: Sequence[bytes], make: Callable[[Path], None]) -> Path:
    """The environment's place, made first where there is none for these locks."""
    digest = hashlib.sha256(b"\0".join(locks)).hexdigest()
    place, made = home() / f"conformance-{name}", home() / f"conformance-{name}" / ".made"
    with only_one(place.name):
        if not made.exists() or made.read_text() != digest:
            say(f"installing the clients of {name}")
            shutil.rmtree(place, ignore_errors=True)
            make(place)
            made.write_text(digest)
    return place


def _program(name: str) -> str:
    if path := shutil.which(name):
        return path
    raise ServersError(f"no program {name}: {NODE_HINT}")


def _run(command: Sequence[str], where: Path | None = None) -> None:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        raise ServersError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
