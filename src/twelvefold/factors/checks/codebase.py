"""I, the codebase: the files that run are those of one wheel. II: it declares what it stands on."""

import asyncio
import json
import re
import sys
from base64 import urlsafe_b64encode
from hashlib import new
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path
from shutil import which

from twelvefold import __version__
from twelvefold.boot import commit
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.source_code import HOME, imports, modules
from twelvefold.factors.harness.testbed import Scene

PACKAGE = "twelvefold"


async def codebase(scene: Scene, witness: Witness) -> None:
    found = distribution(PACKAGE)
    if _is_installed(found):
        await asyncio.to_thread(_one_wheel, found, witness)
        _of_one_commit(commit(), witness)
    else:
        await _one_commit(scene, witness)
    told = await scene.release.done("--version", settings={})
    witness.expect(
        told.answer == f"twelvefold {found.version}" and found.version == __version__,
        f"`twelvefold --version` of a new process says {told.answer!r}, as the metadata does",
        f"`twelvefold --version` says {told.answer!r}, the metadata says {found.version}",
    )


def _of_one_commit(made_of: str, witness: Witness) -> None:
    if not made_of:
        witness.leave("nobody wrote down which commit it was built of: build it in a clone")
    elif made_of.endswith("-dirty"):
        witness.leave(f"it was built of {made_of}: with changes that no commit has")
    else:
        witness.saw(f"it was built of commit {made_of}")


def _is_installed(found: Distribution) -> bool:
    """Whether what runs is where the metadata is; an editable install runs a checkout instead."""
    return Path(str(found.locate_file(PACKAGE))).resolve() == HOME.resolve()


def _one_wheel(found: Distribution, witness: Witness) -> None:
    recorded = {str(file): file.hash for file in found.files or () if file.hash}
    ours = {name: one for name, one in recorded.items() if name.startswith(f"{PACKAGE}/")}
    changed = [name for name, one in ours.items() if one and _hash(name, one.mode) != one.value]
    there = (path for path in HOME.rglob("*") if path.is_file() and path.suffix != ".pyc")
    added = {f"{PACKAGE}/{path.relative_to(HOME).as_posix()}" for path in there} - ours.keys()
    origin = json.loads(found.read_text("direct_url.json") or "{}").get("url", "")
    source = f", from {origin.rpartition('/')[2]}" if origin else ""
    witness.expect(
        bool(ours) and not changed and not added,
        f"all {len(ours)} files have the hash that the wheel's RECORD names{source}; none is added",
        f"of the files below {HOME}, RECORD does not know {_few([*changed, *sorted(added)])}",
    )


async def _one_commit(scene: Scene, witness: Witness) -> None:
    """A checkout has no RECORD; git knows whether its files are those of a commit."""
    commit = await _git(scene, "rev-parse", "--short", "HEAD")
    changes = await _git(scene, "status", "--porcelain", "--untracked-files=all", "--", ".")
    if not commit or changes is None:
        witness.leave(f"what runs is a checkout, {HOME}, of which nobody says what it is")
    elif changes:
        few = _few([line[3:] for line in changes.splitlines()])
        witness.leave(f"what runs is a checkout with changes that no commit has: {few}")
    else:
        witness.saw(
            f"what runs is a checkout, not yet a wheel: all its files are commit {commit}'s"
        )


async def _git(scene: Scene, *arguments: str) -> str | None:
    """What git says of the release's folder; None where there is no git, or no repository."""
    git = which("git", path=scene.environ.get("PATH"))
    if git is None:
        return None
    asked = await asyncio.create_subprocess_exec(
        *(git, "-C", str(HOME), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asked.communicate()
    return said.decode(errors="replace").rstrip() if asked.returncode == 0 else None


def _hash(name: str, algorithm: str) -> str:
    file = HOME.parent / name
    digest = new(algorithm, file.read_bytes()).digest() if file.exists() else b""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


async def dependencies(scene: Scene, witness: Witness) -> None:
    await asyncio.to_thread(_declared, witness)
    running = await scene.release.done(
        "run",
        "I want to learn databases",
        settings={"DATABASE_URL": f"sqlite:///{scene.directory}/dependencies.db"},
        watched=True,
    )
    programs = [one["program"] for one in running.watched() if "program" in one]
    witness.expect(
        running.status == 0 and bool(running.answer) and not programs,
        "`twelvefold run` with an empty PATH answered, and started no other program",
        f"`twelvefold run` with an empty PATH ended with {running.status} ({running.last}), "
        f"and started {_few(programs) or 'no program'}",
    )


def _declared(witness: Witness) -> None:
    requires = distribution(PACKAGE).requires or ()
    declared = {_plain(one) for one in requires if "extra ==" not in one}
    providers = packages_distributions()
    undeclared: list[str] = []
    foreign = set()
    for path, module in modules().items():
        for name in set(imports(module)) - {PACKAGE, *sys.stdlib_module_names}:
            foreign.add(name)
            if not {_plain(one) for one in providers.get(name, [])} & declared:
                undeclared.append(f"{name} ({path})")
    witness.expect(
        bool(foreign) and not undeclared,
        f"{len(modules())} modules import {len(foreign)} packages that are not Python's own, each "
        f"of them among the {len(declared)} that the metadata declares",
        f"imported, but not declared: {_few(sorted(undeclared))}",
    )


def _plain(requirement: str) -> str:
    """The name that a requirement begins with, as PEP 503 compares it."""
    found = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
