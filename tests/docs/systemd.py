"""Replaces systemd in the test of the page on deployment: no init system runs in tests.

    systemd.py systemctl daemon-reload | systemctl start UNIT… | systemctl enable --now UNIT…
    systemd.py systemd-run [OPTIONS] COMMAND…
    systemd.py journalctl -u UNIT -o cat

A process gets PATH and PORT (a free port) from the caller's environment, and the rest from its
unit's EnvironmentFile.
"""

import configparser
import os
import subprocess
import sys
from pathlib import Path

AT = Path(os.environ["AT"])
"""The directory that replaces the root of the file system."""
UNITS = AT / "etc/systemd/system"


def environ(file: Path) -> dict[str, str]:
    pairs = [line.partition("=") for line in file.read_text().splitlines() if line]
    ours = {name: os.environ[name] for name in ("PATH", "PORT")}
    return ours | {name: value for name, _, value in pairs}


def start(unit: str) -> None:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.read(UNITS / f"{unit}.service")
    service = read["Service"]
    env = environ(AT / service["EnvironmentFile"].lstrip("/"))
    command = [f"{AT}{service['ExecStart'].split()[0]}", *service["ExecStart"].split()[1:]]
    with (UNITS / f"{unit}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    if service["Type"] == "oneshot" and process.wait() != 0:
        sys.exit((UNITS / f"{unit}.log").read_text())


def main(*arguments: str) -> None:
    match arguments:
        case "systemctl", "daemon-reload":
            pass
        case ("systemctl", "start", *units) | ("systemctl", "enable", "--now", *units):
            for unit in units:
                start(unit)
        case "journalctl", "-u", unit, "-o", "cat":
            print((UNITS / f"{unit}.log").read_text(), end="")
        case "systemd-run", *words:
            file, *command = " ".join(words).partition("EnvironmentFile=")[2].split()
            subprocess.run(command, env=environ(Path(file)), check=True)
        case _:
            sys.exit(f"not supported here: {' '.join(arguments)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
