"""Writes into the wheel and the sdist which commit they are made of; a working copy has no need."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT = "src/twelvefold/COMMIT"
INSIDE = {"wheel": "twelvefold/COMMIT", "sdist": COMMIT}


class CommitHook(BuildHookInterface):  # type: ignore[type-arg] # the builder's own configuration
    """Known to hatchling by pyproject.toml."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An sdist has the file already, and goes on to say what it was made of.
        if version == "editable" or Path(self.root, COMMIT).exists():
            return
        if commit := _commit(self.root):
            self._made = tempfile.TemporaryDirectory()
            file = Path(self._made.name, "COMMIT")
            file.write_text(f"{commit}\n")
            build_data["force_include"][str(file)] = INSIDE[self.target_name]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_made"):
            self._made.cleanup()


def _commit(root: str) -> str:
    """The commit checked out there, with `-dirty` if that is not all; "" without git."""

    def git(*words: str) -> str:
        asked = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True
        )
        return asked.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != Path(root).resolve():
            return ""
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
