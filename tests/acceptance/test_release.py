"""Releases made in a repository of their own: which version, what is in it, and the way back."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.academy import Place, judge
from tests.acceptance.crash import Arena, arena, free_run
from tests.acceptance.crash_model import Client, journal_of
from twelvefold.services.store.migrate import HEAD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
URL = os.environ.get("DATABASE_URL", "")
NOBODY = Client("nobody")
NEXT = f"{int(HEAD) + 1:04}"
COLUMN = f'''
"""A column that only the next release knows."""

from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.execute("ALTER TABLE runs ADD COLUMN mood VARCHAR(9) NULL")
'''


class Repository:
    """A clone to make releases in; `released` are their versions in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.released: list[str] = []

    def does(self, *command: str, fails: bool = False) -> str:
        """Run a command there; what it says on both outputs."""
        quiet = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GIT_", "PYTHON", "PYTEST_", "DATABASE_URL"))
        }
        # `make check test build` is what this very run is a part of.
        done = subprocess.run(
            command, cwd=self.path, capture_output=True, text=True, env=quiet | {"MAKE": "true"}
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, subject: str) -> None:
        self.does("git", "add", "--all")
        self.does("git", "commit", "--quiet", "--allow-empty", "--message", subject)

    def release(self) -> str:
        """Make a release; its version."""
        self.does("tools/release")
        tag = self.does("git", "describe", "--tags", "--exact-match").strip()
        self.released.append(tag.removeprefix("v"))
        return self.released[-1]

    def command(self, version: str) -> str:
        return str(self.path / ".releases" / version / "bin" / "twelvefold")


def cloned(path: Path) -> Repository:
    """A clone of this repository without its tags, on main."""
    subprocess.run(["git", "clone", "--quiet", ROOT, path], check=True)
    repository = Repository(path)
    (path / ".venv").symlink_to(sys.prefix)
    (path / ".git" / "info" / "exclude").write_text(".venv\n")
    repository.does("git", "config", "user.name", "Twelvefold")
    repository.does("git", "config", "user.email", "twelvefold@example.org")
    repository.does("git", "checkout", "--quiet", "-B", "main")
    for tag in repository.does("git", "tag").split():
        repository.does("git", "tag", "--delete", tag)
    return repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    path = tmp_path_factory.mktemp("releases") / "clone"
    yield cloned(path)
    shutil.rmtree(path)


def test_each_branch_gets_its_next_version(repository: Repository) -> None:
    first = repository.release()
    assert "nothing to release" in repository.does("tools/release")
    for branch, subject in (
        ("main", "fix: mend a thing"),
        ("next", "fix: mend another"),
        ("beta", "feat: add a thing"),
        ("alpha", "feat!: turn it round"),
    ):
        repository.does("git", "checkout", "--quiet", "-B", branch, "main")
        repository.commit(subject)
        repository.release()
    repository.commit("fix: not so far round")
    repository.release()
    repository.does("git", "checkout", "--quiet", "-B", "mine", "main")
    repository.commit("fix: nobody's")
    assert "mine makes no releases" in repository.does("tools/release", fails=True)
    repository.does("git", "checkout", "--quiet", "main")

    assert repository.released == [
        first,
        "0.1.1",
        "0.1.2-rc.1",
        "0.2.0-beta.1",
        "0.2.0-alpha.1",
        "0.2.0-alpha.2",
    ]
    changelog = (repository.path / "CHANGELOG.md").read_text()
    assert "## [Unreleased]\n\n## [0.1.1] - " in changelog
    assert "### Fixed\n\n- Mend a thing.\n" in changelog
    assert f"## [{first}] - " in changelog


def test_work_goes_from_branch_to_branch_and_is_told_at_the_end(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")
    repository.does("git", "tag", "--annotate", "v0.1.0", "--message", "before")
    kept = (repository.path / "CHANGELOG.md").read_text()
    repository.does("git", "checkout", "--quiet", "-b", "alpha")
    repository.commit("feat: add a thing")
    repository.release()
    repository.commit("fix: mend it")
    repository.release()
    for branch in ("beta", "next"):
        repository.does("git", "checkout", "--quiet", "-b", branch)
        repository.release()
    assert (repository.path / "CHANGELOG.md").read_text() == kept
    repository.does("git", "checkout", "--quiet", "main")
    repository.does("git", "merge", "--quiet", "next")
    repository.release()

    assert repository.released == [
        "0.2.0-alpha.1",
        "0.2.0-alpha.2",
        "0.2.0-beta.1",
        "0.2.0-rc.1",
        "0.2.0",
    ]
    changelog = (repository.path / "CHANGELOG.md").read_text()
    headings = [line for line in changelog.splitlines() if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    assert headings[1].startswith("## [0.2.0] - ")
    assert "alpha" not in "".join(headings)
    notes = changelog.partition(headings[1])[2].partition("\n## ")[0].strip()
    for version in ("0.2.0-rc.1", "0.2.0"):
        told = repository.does("git", "tag", "--list", "--format=%(contents)", f"v{version}")
        assert told.strip() == f"Twelvefold {version}\n\n{notes}"


def test_a_release_that_was_cut_off_goes_on_and_needs_no_remote(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")
    repository.does("git", "remote", "remove", "origin")
    version = repository.release()
    shutil.rmtree(repository.path / ".releases" / version)

    assert "nothing to release" in repository.does("tools/release")

    listed = repository.does(repository.command(version), "version", "--history", "--json")
    assert [json.loads(line)["version"] for line in listed.splitlines()] == [version]


def test_a_release_that_was_cut_off_before_its_tag_is_made_once(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")
    version = repository.release()
    repository.does("git", "tag", "--delete", f"v{version}")
    shutil.rmtree(repository.path / ".releases" / version)

    assert repository.release() == version

    subjects = repository.does("git", "log", "--format=%s").splitlines()
    changelog = (repository.path / "CHANGELOG.md").read_text()
    assert subjects.count(f"chore: release {version}") == 1
    assert changelog.count(f"## [{version}]") == 1
    notes = (
        changelog.partition(f"## [{version}]")[2].partition("\n")[2].partition("\n## ")[0].strip()
    )
    told = repository.does("git", "tag", "--list", "--format=%(contents:body)", f"v{version}")
    assert told.strip() == notes


def test_a_tag_that_is_on_no_branch_is_no_release(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")
    version = repository.release()
    repository.does("git", "reset", "--quiet", "--hard", "HEAD~1")
    repository.commit("fix: somebody else's")

    told = repository.does("tools/release", fails=True)

    assert f"v{version} exists, but not on main" in told


def test_a_branch_that_lacks_the_last_version_makes_none(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")
    repository.does("git", "checkout", "--quiet", "-b", "alpha")
    repository.commit("feat: add a thing")
    repository.does("git", "checkout", "--quiet", "main")
    version = repository.release()
    repository.does("git", "checkout", "--quiet", "alpha")

    assert f"alpha lacks v{version}" in repository.does("tools/release", fails=True)


def test_to_look_at_what_would_be_done_makes_no_release(tmp_path: Path) -> None:
    repository = cloned(tmp_path / "clone")

    assert "tools/release" in repository.does("make", "-n", "release")

    assert repository.does("git", "tag") == ""
    assert repository.does("git", "status", "--porcelain") == ""


def test_a_clone_without_its_history_makes_no_release(tmp_path: Path) -> None:
    whole = cloned(tmp_path / "clone")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", f"file://{whole.path}", tmp_path / "shallow"],
        check=True,
    )

    assert "git fetch --unshallow" in Repository(tmp_path / "shallow").does(
        "tools/release", fails=True
    )


def test_what_was_put_in_place_is_in_the_ledger(repository: Repository) -> None:
    listed = repository.does(repository.command("0.1.1"), "version", "--history", "--json")

    ledger = [json.loads(line) for line in listed.splitlines()]
    assert [one["version"] for one in ledger] == repository.released[::-1]
    for one in ledger:
        tagged = repository.does("git", "rev-parse", f"v{one['version']}^{{commit}}").strip()
        assert (one["release"], one["commit"]) == (f"v{one['version']}", tagged)


def test_a_release_that_two_put_in_place_is_put_there_once(repository: Repository) -> None:
    shutil.rmtree(repository.path / ".releases" / "0.1.1")

    with ThreadPoolExecutor() as both:
        said = list(both.map(lambda _: repository.does("tools/place", "0.1.1"), range(2)))

    assert sorted(said)[0] == ""
    assert "0.1.1" in repository.does(repository.command("0.1.1"), "version")


def test_a_release_needs_nothing_of_the_repository(repository: Repository, tmp_path: Path) -> None:
    done = subprocess.run(
        [repository.command("0.1.1"), "run", "--json", "I want to learn Python"],
        cwd=tmp_path,
        env={"LOG_LEVEL": "error"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "completed"


def test_a_commit_is_always_the_same_bytes(repository: Repository) -> None:
    def built() -> dict[str, str]:
        repository.does("tools/build")
        files = sorted((repository.path / "dist").glob("twelvefold-*"))
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    first = built()
    (repository.path / "README.md").touch()

    assert built() == first
    assert [Path(name).suffix for name in first] == [".whl", ".json", ".gz"]
    bom: Any = json.loads(next((repository.path / "dist").glob("*.cdx.json")).read_text())
    assert bom["metadata"]["component"]["version"] == "0.1.1"
    assert {"aiohttp", "asyncmy"} <= {one["name"] for one in bom["components"]}


@pytest.mark.mysql
def test_runs_in_flight_go_on_after_a_roll_back(repository: Repository) -> None:
    versions = repository.path / "src/twelvefold/services/store/migrations/versions"
    (versions / f"r{NEXT}_mood.py").write_text(COLUMN)
    migrate = versions.parents[1] / "migrate.py"
    migrate.write_text(migrate.read_text().replace(f'HEAD = "{HEAD}"', f'HEAD = "{NEXT}"'))
    repository.commit("feat: have a mood")
    newer = repository.release()

    asyncio.run(_rolled_back(repository, "0.1.1", newer))


async def _rolled_back(repository: Repository, older: str, newer: str) -> None:
    places = [Place(1), Place(2)]
    async with arena(URL, places) as stage:
        assert f"applied {NEXT}" in await _said(stage, repository.command(newer), "migrate")
        for place, version in zip(places, (older, newer), strict=True):
            await _killed(stage, place, repository.command(version))

        assert NEXT not in await _said(stage, repository.command(older), "migrate")
        begun_by: list[str] = []
        for place in places:
            run = await free_run(stage.store, place)
            assert run is not None
            begun_by.append((await stage.store.run(run)).release)
            client = Client(f"{place.student}.last")
            command = (repository.command(older), "runs", "resume", str(run))
            await _said(stage, *command, client=client)

        verdicts = [await judge(stage.store, one, journal_of("in_turn")) for one in places]
        ledger = await _said(stage, repository.command(older), "version", "--history", "--json")
    assert [one.why for one in verdicts] == [(), ()]
    assert begun_by == [older, newer]
    assert [json.loads(one)["schema"] for one in ledger.splitlines()] == [NEXT, NEXT]
    assert [json.loads(one)["version"] for one in ledger.splitlines()] == [older, newer]


def _environment(stage: Arena, client: Client) -> dict[str, str]:
    return {
        name: value for name, value in stage.environment(client).items() if name != "PYTHONPATH"
    }


async def _said(stage: Arena, *command: str, client: Client = NOBODY) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, env=_environment(stage, client), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def _killed(stage: Arena, place: Place, command: str) -> None:
    """A turn whose process is killed in the middle of its second reply."""
    client = Client(f"{place.student}.0", hold=2)
    process = await asyncio.create_subprocess_exec(
        *(command, "run", "--as", place.student, place.wish),
        env=_environment(stage, client),
        stdout=asyncio.subprocess.DEVNULL,
    )
    await stage.model.wait_for("held", client)
    process.kill()
    await process.wait()
