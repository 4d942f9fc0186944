"""Procfile, compose.yaml and systemd units start existing commands with valid settings."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.ci.workflow import ROOT, read
from twelvefold.admin.parity import series
from twelvefold.cli.parser import build_parser
from twelvefold.config import Settings, list_variables

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
    """Return the function of a command line. Exits for an unknown command."""
    parsed = build_parser().parse_args(arguments)
    found: str = parsed.handler
    return found


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys are case-sensitive
    parser.read_string(path.read_text())
    return parser["Service"]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize(
    ("process", "command"), [("release", "migrate"), ("web", "web"), ("worker", "worker")]
)
def test_the_procfile_starts_the_processes(process: str, command: str) -> None:
    program, *arguments = shlex.split(PROCFILE[process])

    assert (program, handler(*arguments)) == ("twelvefold", HANDLERS[command])
    assert PROCFILE.keys() == {"release", "web", "worker"}


@pytest.mark.parametrize("name", HANDLERS)
def test_compose_starts_the_processes(name: str) -> None:
    assert handler(*OURS[name]["command"]) == HANDLERS[name]
    assert OURS.keys() == HANDLERS.keys()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_starts_the_processes(path: Path) -> None:
    program, *arguments = shlex.split(unit(path)["ExecStart"])

    assert program == "/opt/twelvefold/bin/twelvefold"
    assert handler(*arguments) == HANDLERS[path.stem.removeprefix("twelvefold-")]
    assert len(UNITS) == len(HANDLERS)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_stop_timeout_of_a_unit_exceeds_the_grace_period(path: Path) -> None:
    service = unit(path)

    assert service["KillSignal"] == "SIGTERM"
    if service["Type"] != "oneshot":
        assert seconds(service["TimeoutStopSec"]) > Settings().grace_s + 10


def test_a_unit_does_not_restart_after_a_settings_error() -> None:
    """2 is the exit status of a settings error, which a restart cannot fix."""
    assert [unit(path).get("RestartPreventExitStatus") for path in UNITS] == [None, "2", "2"]


@pytest.mark.parametrize("name", HANDLERS)
def test_the_stop_timeout_of_a_container_exceeds_the_grace_period(name: str) -> None:
    assert seconds(OURS[name]["stop_grace_period"]) > Settings().grace_s + 10


@pytest.mark.parametrize("name", HANDLERS)
def test_a_container_is_read_only_and_has_no_capabilities(name: str) -> None:
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", HANDLERS)
def test_the_environment_of_a_container_has_only_settings(name: str) -> None:
    environment = interpolated(OURS[name]["environment"])

    assert OURS[name]["environment"].keys() <= {variable.name for variable in list_variables()}
    assert Settings.from_environ(environment).database_url == (
        "mysql://twelvefold:from-dotenv@mysql:3306/twelvefold?charset=utf8mb4"
    )


def interpolated(environment: dict[str, str]) -> dict[str, str]:
    """Interpolate variables as compose does if `.env` contains only the password."""
    filled = {name: re.sub(r"\$\{\w+:-\}", "", value) for name, value in environment.items()}
    return {name: re.sub(r"\$\{\w+:\?.+\}", "from-dotenv", v) for name, v in filled.items()}


def test_the_file_contains_no_secret() -> None:
    environments = [it.get("environment", {}) for it in COMPOSE["services"].values()]
    secrets = [
        value
        for environment in environments
        for name, value in environment.items()
        if re.search(r"PASSWORD|KEY|TOKEN", name) and name != "MYSQL_RANDOM_ROOT_PASSWORD"
    ]

    assert len(secrets) == 7
    assert all(value.startswith("${") for value in secrets)


def test_the_database_of_compose_is_a_tested_version() -> None:
    image, _, version = COMPOSE["services"]["mysql"]["image"].partition(":")

    assert image == "mysql"
    assert series("MySQL", version) == version


@pytest.mark.parametrize("name", ["web", "worker"])
def test_no_process_starts_before_the_migration(name: str) -> None:
    waits: dict[str, Any] = OURS[name]["depends_on"]

    assert waits["migrate"] == {"condition": "service_completed_successfully"}
    assert OURS["migrate"]["depends_on"] == {"mysql": {"condition": "service_healthy"}}


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for it in COMPOSE["services"].values() for port in it.get("ports", [])]

    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_has_limits_and_writes_no_core_dump(path: Path) -> None:
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
