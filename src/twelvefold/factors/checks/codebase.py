"""Factor I, codebase: the installed files are those of one wheel, built from one commit."""

import asyncio
import json
from base64 import urlsafe_b64encode
from hashlib import new
from importlib.metadata import Distribution, distribution
from pathlib import Path
from shutil import which

from twelvefold import __version__
from twelvefold.boot import commit
from twelvefold.factors.harness import Report, TestBed, first_names
from twelvefold.factors.harness.source_code import PACKAGE_DIRECTORY

PACKAGE = "twelvefold"


async def check_codebase(bed: TestBed, report: Report) -> None:
    installed = distribution(PACKAGE)
    if _is_from_wheel(installed):
        await asyncio.to_thread(_compare_with_record, installed, report)
        _report_commit(commit(), report)
    else:
        await _compare_with_commit(bed, report)
    printed = (await bed.processes.run("--version", settings={})).output
    report.expect(
        printed == f"twelvefold {installed.version}" and installed.version == __version__,
        f"`twelvefold --version` printed {printed!r}, the version in the metadata",
        f"`twelvefold --version` printed {printed!r}, but the metadata has {installed.version}",
    )


def _is_from_wheel(installed: Distribution) -> bool:
    """Whether the code is beside its metadata; an editable install runs a checkout instead."""
    return Path(str(installed.locate_file(PACKAGE))).resolve() == PACKAGE_DIRECTORY.resolve()


def _compare_with_record(installed: Distribution, report: Report) -> None:
    recorded = {
        str(file): file.hash
        for file in installed.files or ()
        if file.hash and str(file).startswith(f"{PACKAGE}/")
    }
    changed = [name for name, one in recorded.items() if _hash(name, one.mode) != one.value]
    added = sorted(_present_files() - recorded.keys())
    url = json.loads(installed.read_text("direct_url.json") or "{}").get("url", "")
    source = f" of {url.rpartition('/')[2]}" if url else ""
    report.expect(
        bool(recorded) and not changed and not added,
        f"all {len(recorded)} files match the hashes in the RECORD of the wheel{source}; "
        "there are no other files",
        f"files in {PACKAGE_DIRECTORY} that differ from RECORD: {first_names([*changed, *added])}",
    )


def _present_files() -> set[str]:
    paths = (path for path in PACKAGE_DIRECTORY.rglob("*") if path.is_file())
    return {
        f"{PACKAGE}/{path.relative_to(PACKAGE_DIRECTORY).as_posix()}"
        for path in paths
        if path.suffix != ".pyc"
    }


def _hash(name: str, algorithm: str) -> str:
    file = PACKAGE_DIRECTORY.parent / name
    digest = new(algorithm, file.read_bytes()).digest() if file.exists() else b""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _report_commit(built_from: str, report: Report) -> None:
    if not built_from:
        report.mark_not_claimed("the wheel does not name its commit: build it in a clone")
    elif built_from.endswith("-dirty"):
        report.mark_not_claimed(f"the wheel was built from {built_from}: with uncommitted changes")
    else:
        report.record(f"the wheel was built from commit {built_from}")


async def _compare_with_commit(bed: TestBed, report: Report) -> None:
    """Compare a checkout, which has no RECORD, with its commit."""
    head = await _git(bed, "rev-parse", "--short", "HEAD")
    changes = await _git(bed, "status", "--porcelain", "--untracked-files=all", "--", ".")
    if not head or changes is None:
        report.mark_not_claimed(f"this is a checkout, {PACKAGE_DIRECTORY}, of an unknown commit")
    elif changes:
        names = first_names([line[3:] for line in changes.splitlines()])
        report.mark_not_claimed(f"this is a checkout with uncommitted changes: {names}")
    else:
        report.record(f"this is a checkout, not a wheel; all files are those of commit {head}")


async def _git(bed: TestBed, *arguments: str) -> str | None:
    """Run git in the package's directory; None without git or without a repository."""
    git = which("git", path=bed.environ.get("PATH"))
    if git is None:
        return None
    process = await asyncio.create_subprocess_exec(
        *(git, "-C", str(PACKAGE_DIRECTORY), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace").rstrip() if process.returncode == 0 else None
