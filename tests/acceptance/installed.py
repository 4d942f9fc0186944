"""Releases installed from a wheel of this checkout, whole or with one thing broken in them."""

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AT_LEISURE = (
    "import sys; from functools import partial; from twelvefold.cli import factors, main;"
    "factors.run_checks = partial(factors.run_checks, timeout_s=200); sys.exit(main.main())"
)
"""What the console script does; but what comes of a check shall not be a matter of the machine."""


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One thing that is broken in one file. `hidden`: as by who changes an installed file; else it
    was released so, and the wheel's RECORD knows of it.
    """

    factor: str
    breaks: str
    file: str
    edits: tuple[tuple[str, str], ...] = ()
    added: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Installed:
    """The folder that a wheel was installed into, beside the packages of this environment."""

    folder: Path

    def broken(self, sabotage: Sabotage, folder: Path) -> "Installed":
        """A copy of it with this sabotage."""
        shutil.copytree(self.folder, folder)
        file = folder / "twelvefold" / sabotage.file
        text = file.read_text()
        for sound, broken in sabotage.edits:
            assert text.count(sound) == 1, f"{sabotage.file}: {sound!r}"
            text = text.replace(sound, broken)
        file.write_text(text + sabotage.added)
        if not sabotage.hidden:
            _record(folder, f"twelvefold/{sabotage.file}")
        return Installed(folder)

    async def factors(
        self, settings: Mapping[str, str], *numbers: str
    ) -> tuple[int, dict[str, dict[str, Any]]]:
        """The exit status of `twelvefold factors`, and its lines by the factors' numbers."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", AT_LEISURE, "factors", "--json", *numbers),
            stdout=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(self.folder),
                **settings,
            },
        )
        said, _ = await process.communicate()
        rows = [json.loads(line) for line in said.splitlines()]
        assert process.returncode is not None
        return process.returncode, {row["factor"]: row for row in rows}


def installed(folder: Path) -> Installed:
    """The wheel of this checkout, built and unpacked."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "release")
    # Once here, rather than by the first processes of each copy.
    compiled = [sys.executable, "-m", "compileall", "-q", str(folder / "release")]
    subprocess.run(compiled, check=True)
    return Installed(folder / "release")


def _record(folder: Path, name: str) -> None:
    """Give a file the hash in RECORD that a wheel built of it would have."""
    (record,) = folder.glob("*.dist-info/RECORD")
    content = (folder / name).read_bytes()
    digest = urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
    with record.open(newline="") as file:
        rows = [
            [one, f"sha256={digest}", str(len(content))] if one == name else [one, *rest]
            for one, *rest in csv.reader(file)
        ]
    with record.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
