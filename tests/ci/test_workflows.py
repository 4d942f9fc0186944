"""The workflows run the documented checks, with minimal permissions."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.ci.dry_run import recipe
from tests.ci.workflow import (
    GATE,
    ROOT,
    WORKFLOWS,
    combinations,
    interpolate,
    jobs,
    read,
    steps_of_ci,
    target,
)
from twelvefold.admin.parity import TESTED

TESTS = read(WORKFLOWS / "test.yml")
ALL = sorted(WORKFLOWS.glob("*.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
KINDS = {"mariadb": "MariaDB", "mysql": "MySQL"}


def each_step(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def matrix(name: str) -> list[str]:
    found: list[str] = TESTS["jobs"]["test"]["strategy"]["matrix"][name]
    return found


def test_the_workflow_has_the_targets_of_ci_run() -> None:
    made = {target(command) for job in jobs(TESTS) for command in job.commands}

    assert made == set(steps_of_ci())


def test_the_suite_runs_once_for_each_python_and_database() -> None:
    runs = [job for job in jobs(TESTS) if "make test" in job.commands]

    assert len({job.name for job in runs}) == len(runs) == 16
    assert all(job.database in job.name for job in runs)


def test_the_pythons_are_those_of_the_classifiers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classified = [one.rpartition(" :: ")[2] for one in project["classifiers"] if ":: 3." in one]

    assert matrix("python") == classified
    assert project["requires-python"] == f">={classified[0]}"


def test_the_databases_are_those_that_doctor_reports_as_tested() -> None:
    images = [image.partition(":") for image in matrix("database")]

    assert [(KINDS[kind], series) for kind, _, series in images] == [
        (kind, series) for kind, all_series in TESTED.items() for series in all_series
    ]


def test_the_readme_lists_the_tested_versions() -> None:
    pythons = matrix("python")
    named = ", ".join(f"{kind} {' and '.join(series)}" for kind, series in TESTED.items())
    readme = " ".join((ROOT / "README.md").read_text().split())

    assert f"The suite runs on {named}, each with Python {pythons[0]} to {pythons[-1]}" in readme


def test_the_gate_waits_for_every_other_job() -> None:
    gate = TESTS["jobs"][GATE]

    assert {*gate["needs"], GATE} == TESTS["jobs"].keys()
    assert gate["if"] == "always()"
    [step] = gate["steps"]
    ends = ("failure", "cancelled", "skipped")
    assert step["if"] == " || ".join(f"contains(needs.*.result, '{end}')" for end in ends)
    assert step["run"] == "exit 1"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_permissions_are_granted_per_job(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())
    assert "concurrency" in workflow


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_with_its_version(path: Path) -> None:
    used = [line.strip() for line in path.read_text().splitlines() if "uses:" in line]

    assert [line for line in used if not PINNED.search(line)] == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_checkout_persists_its_token(path: Path) -> None:
    checkouts = [
        step["with"]
        for step in each_step(read(path))
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert all(given["persist-credentials"] is False for given in checkouts)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_and_scripts_of_the_repository(path: Path) -> None:
    """Developers can run these too, and `make check-ci` lints them."""
    for step in each_step(read(path)):
        match shlex.split(step.get("run", "")):
            case ["make", name, *settings]:
                assert f"\n{name}: " in (ROOT / "Makefile").read_text()
                assert all("=" in setting for setting in settings)
            case [script, *_] if script.startswith("tools/"):
                assert (ROOT / script).stat().st_mode & 0o111
            case ["gh", *_] | ["exit", "1"] | []:
                pass
            case words:
                pytest.fail(f"{path.name} runs {' '.join(words)}")


def test_all_workflows_use_the_same_version_of_an_action() -> None:
    steps = [step for path in ALL for step in each_step(read(path))]
    used = {step["uses"] for step in steps if "uses" in step}

    assert len({action.split("@")[0] for action in used}) == len(used)


def test_a_command_other_than_make_is_rejected() -> None:
    with pytest.raises(ValueError, match="`pytest -q` does not run one target of make"):
        target("pytest -q")


@pytest.mark.parametrize(
    ("name", "message"), [("unit", "No rule to make target"), ("tests", "Nothing to be done")]
)
def test_an_unknown_target_is_rejected(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(name)


def test_a_matrix_is_expanded_to_all_combinations() -> None:
    found = list(combinations({"a": ["1", "2"], "b": ["x"]}))

    assert found == [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]
    assert interpolate("${{ matrix.a }}-${{ matrix.b }}", found[1]) == "2-x"


def test_every_lock_is_audited_daily_and_on_change() -> None:
    workflow: dict[Any, Any] = read(WORKFLOWS / "audit.yml")
    when = workflow[True]  # YAML 1.1 reads the key `on` as true
    locks = [*ROOT.glob("requirements*.txt"), *(ROOT / "tests/conformance").glob("*/*.txt")]
    node = [path.parent for path in (ROOT / "tests/conformance").glob("*/package-lock.json")]
    words = shlex.split(recipe("audit"))

    assert len(locks) == 5
    assert {str(path.relative_to(ROOT)) for path in (*locks, *node)} <= {*words}
    assert when["schedule"]
    for event in ("push", "pull_request"):
        assert {"**/requirements*.txt", "**/package-lock.json"} <= {*when[event]["paths"]}
