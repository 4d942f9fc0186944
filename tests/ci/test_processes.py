"""Procfile, compose.yaml and systemd's units start what there is, as the settings want it."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.ci.workflow import ROOT, read
from twelvefold.admin.parity import series
from twelvefold.cli.parser import build_parser
from twelvefold.config import Settings, variables

COMPOSE = read(ROOT / "compose.yaml")
OURS = {name: it for name, it in COMPOSE["services"].items() if it.get("build") == "."}
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
PROCFILE = dict(
    line.split(": ", maxsplit=1) for line in (ROOT / "Procfile").read_text().splitlines()
)
HANDLERS = {
    "migrate": "twelvefold.cli.admin:migrate",
    "web": "twelvefold.cli.web:web",
    "worker": "twelvefold.cli.worker:worker",
}


def handler(*arguments: str) -> str:
    """The function behind a command line. Ends the test if there is no such command."""
    parsed = build_parser().parse_args(arguments)
    found: str = parsed.handler
    return found


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys keep their capitals
    parser.read_string(path.read_text())
    return parser["Service"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize(
    ("process", "command"), [("release", "migrate"), ("web", "web"), ("worker", "worker")]
)
def test_the_procfile_has_the_processes(process: str, command: str) -> None:
    program, *arguments = shlex.split(PROCFILE[process])

    assert (program, handler(*arguments)) == ("twelvefold", HANDLERS[command])
    assert PROCFILE.keys() == {"release", "web", "worker"}


@pytest.mark.parametrize("name", HANDLERS)
def test_compose_has_the_processes(name: str) -> None:
    assert handler(*OURS[name]["command"]) == HANDLERS[name]
    assert OURS.keys() == HANDLERS.keys()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_has_the_processes(path: Path) -> None:
    program, *arguments = shlex.split(unit(path)["ExecStart"])

    assert program == "/opt/twelvefold/bin/twelvefold"
    assert handler(*arguments) == HANDLERS[path.stem.removeprefix("twelvefold-")]
    assert len(UNITS) == len(HANDLERS)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_has_time_for_the_step_in_hand(path: Path) -> None:
    service = unit(path)

    assert service["KillSignal"] == "SIGTERM"
    if service["Type"] != "oneshot":
        assert seconds(service["TimeoutStopSec"]) > Settings().grace_s + 10


def test_a_wrong_setting_is_not_tried_again_and_again() -> None:
    """2 is the exit status of bad settings, which only a person can mend."""
    assert [unit(path).get("RestartPreventExitStatus") for path in UNITS] == [None, "2", "2"]


@pytest.mark.parametrize("name", HANDLERS)
def test_a_container_has_time_for_the_step_in_hand(name: str) -> None:
    assert seconds(OURS[name]["stop_grace_period"]) > Settings().grace_s + 10


@pytest.mark.parametrize("name", HANDLERS)
def test_a_container_may_write_nothing(name: str) -> None:
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", HANDLERS)
def test_a_container_is_given_settings_alone(name: str) -> None:
    given = as_run(OURS[name]["environment"])

    assert OURS[name]["environment"].keys() <= {variable.name for variable in variables()}
    assert Settings.from_environ(given).database_url == (
        "mysql://twelvefold:from-dotenv@mysql:3306/twelvefold?charset=utf8mb4"
    )


def as_run(environment: dict[str, str]) -> dict[str, str]:
    """What compose makes of the file's variables when `.env` has the password alone."""
    filled = {name: re.sub(r"\$\{\w+:-\}", "", value) for name, value in environment.items()}
    return {name: re.sub(r"\$\{\w+:\?.+\}", "from-dotenv", v) for name, v in filled.items()}


def test_no_secret_is_in_the_file() -> None:
    environments = [it.get("environment", {}) for it in COMPOSE["services"].values()]
    secrets = [
        value
        for environment in environments
        for name, value in environment.items()
        if re.search(r"PASSWORD|KEY|TOKEN", name) and name != "MYSQL_RANDOM_ROOT_PASSWORD"
    ]

    assert len(secrets) == 7
    assert all(value.startswith("${") for value in secrets)


def test_the_database_of_compose_is_a_tested_one() -> None:
    image, _, version = COMPOSE["services"]["mysql"]["image"].partition(":")

    assert image == "mysql"
    assert series("MySQL", version) == version


@pytest.mark.parametrize("name", ["web", "worker"])
def test_nothing_starts_before_the_schema_is_there(name: str) -> None:
    waits: dict[str, Any] = OURS[name]["depends_on"]

    assert waits["migrate"] == {"condition": "service_completed_successfully"}
    assert OURS["migrate"]["depends_on"] == {"mysql": {"condition": "service_healthy"}}


def test_what_is_reached_from_outside_is_reached_from_this_machine_alone() -> None:
    ports = [port for it in COMPOSE["services"].values() for port in it.get("ports", [])]

    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_has_limits_and_leaves_no_core_dump(path: Path) -> None:
    limits = unit(path)

    assert limits["LimitCORE"] == "0"
    assert int(limits["LimitNOFILE"]) >= 1_024
    assert re.fullmatch(r"[1-9]G", limits["MemoryMax"])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_compose_has_the_limits_of_the_units(name: str) -> None:
    [path] = [one for one in UNITS if one.stem == f"twelvefold-{name}"]
    limits = unit(path)

    assert OURS[name]["ulimits"] == {"nofile": int(limits["LimitNOFILE"]), "core": 0}
    assert int(OURS[name]["mem_limit"].removesuffix("g")) >= int(limits["MemoryMax"][:-1])
