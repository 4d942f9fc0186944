"""The plugin in a project of a user: without other plugins, on a server, and used wrongly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

SERVER = os.environ.get("DATABASE_URL", "")
CONFTEST = """
import pytest
from examples.shopping import workflow

@pytest.fixture
def twelvefold_workflows():
    return [workflow]
"""
TESTS = """
import pytest

from twelvefold.testing import call

@pytest.mark.parametrize("number", range(2))
def test_plain(twelvefold_app, number):
    twelvefold_app.model.replies(call("add_item", item="milk"), "Done.")
    twelvefold_app.run("shopping", "Milk", principal="ann")
    assert len(twelvefold_app.fetch_all("select item from shopping")) == 1

async def test_async(twelvefold_async_app, tmp_path):
    twelvefold_async_app.model.replies(call("add_item", item="milk"), "Done.")
    await twelvefold_async_app.run("shopping", "Milk", principal="ann")
    assert len(await twelvefold_async_app.fetch_all("select item from shopping")) == 1
"""


def run_pytest(
    directory: Path, *arguments: str, conftest: str = CONFTEST, tests: str = TESTS
) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_shop.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(directory)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATABASE_URL": SERVER}
    return subprocess.run(
        [*command, "-p", "no:schemathesis", "-p", "no:cacheprovider", *arguments, directory],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
    )


def test_tests_run_without_another_plugin(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-p", "no:asyncio", "-p", "no:anyio")

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_tests_run_with_pytest_asyncio(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-o", "asyncio_mode=auto")

    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.mysql
def test_workers_have_databases_of_their_own_on_the_server(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--twelvefold-database", "env", "-n", "2")

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_failing_async_test_fails(tmp_path: Path) -> None:
    tests = "async def test_async(twelvefold_async_app):\n    assert False, 'as it should'\n"

    done = run_pytest(tmp_path, "-p", "no:asyncio", tests=tests)

    assert "1 failed" in done.stdout
    assert "as it should" in done.stdout


def test_a_project_without_workflows_reads_what_to_override(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, conftest="")

    assert "override the fixture `twelvefold_workflows` in conftest.py" in done.stdout


def test_a_plain_test_with_the_async_app_reads_which_fixture_it_needs(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, tests="def test_plain(twelvefold_async_app): pass\n")

    assert "is for `async def` tests; use twelvefold_app" in done.stdout


def test_a_project_that_uses_no_fixture_imports_nothing_of_twelvefold() -> None:
    code = (
        "import sys, twelvefold.testing.plugin, twelvefold.testing as t; "
        "print(*sorted(m for m in sys.modules if m.startswith(('twelvefold', 'sqlalchemy'))))"
    )

    found = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert found == ["twelvefold", "twelvefold.testing", "twelvefold.testing.plugin"]
