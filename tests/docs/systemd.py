"""What the page on deploying asks of systemd, done without it: no init system runs in tests.

    systemd.py systemctl daemon-reload | systemctl start UNIT… | systemctl enable --now UNIT…
    systemd.py systemd-run [OPTIONS] COMMAND…
    systemd.py journalctl -u UNIT -o cat

Of the caller's environment a process has PATH and, for a port that is
free, PORT; the rest is what its unit's EnvironmentFile says.
"""

import configparser
import os
import subprocess
import sys
from pathlib import Path

AT = Path(os.environ["AT"])
"""What stands for the root of the file system."""
UNITS = AT / "etc/systemd/system"


def environ(file: Path) -> dict[str, str]:
    pairs = [line.partition("=") for line in file.read_text().splitlines() if line]
    ours = {name: os.environ[name] for name in ("PATH", "PORT")}
    return ours | {name: value for name, _, value in pairs}


def start(unit: str) -> None:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.read(UNITS / f"{unit}.service")
    told = read["Service"]
    env = environ(AT / told["EnvironmentFile"].lstrip("/"))
    command = [f"{AT}{told['ExecStart'].split()[0]}", *told["ExecStart"].split()[1:]]
    with (UNITS / f"{unit}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    if told["Type"] == "oneshot" and process.wait() != 0:
        sys.exit((UNITS / f"{unit}.log").read_text())


def main(*asked: str) -> None:
    match asked:
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
            sys.exit(f"this stand-in knows no: {' '.join(asked)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
