"""A small file system for the tables of one database, which can be filled and freed again."""

import os
import shutil
import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_MIB = 64
CHUNK = b"\0" * 65_536


class SmallDisk(AbstractContextManager["SmallDisk"]):
    """A tmpfs, mounted where the server has the database's files. Needs the right to mount."""

    def __init__(self) -> None:
        self._mounted: Path | None = None

    @staticmethod
    def can_be_mounted() -> bool:
        folder = tempfile.mkdtemp(prefix="chaos-mount-")
        try:
            return _mount(Path(folder)) and _unmount(Path(folder))
        finally:
            os.rmdir(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mounted, self._mounted = self._mounted, None
        if mounted is not None:
            _unmount(mounted)

    def move(self, directory: Path) -> None:
        """Put the disk in place of a directory, with what is in that; the owner stays the same."""
        owner, before = directory.stat(), directory.with_name("before")
        shutil.copytree(directory, before)
        if not _mount(directory):
            raise OSError(f"no tmpfs could be mounted at {directory}")
        self._mounted = directory
        shutil.copytree(before, directory, dirs_exist_ok=True)
        shutil.rmtree(before)
        for path in (directory, *directory.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)

    def fill(self) -> None:
        """Write until not a byte more can be written."""
        with self._filler.open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(CHUNK)
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        assert self._mounted is not None
        return self._mounted / "filler"


def remove_left_behind(home: Path) -> None:
    """Unmount and remove what scenes that were killed have left; their servers have ended."""
    mounted = Path("/proc/mounts")
    lines = mounted.read_text().splitlines() if mounted.exists() else []
    for directory in (Path(line.split()[1]) for line in lines):
        run = directory.parents[1] if len(directory.parents) > 1 else directory
        if run.parent == home and not (directory.parent / "server.pid").exists():
            _unmount(directory)
            shutil.rmtree(run, ignore_errors=True)


def _mount(directory: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(directory)]
    return shutil.which("mount") is not None and _succeeds(command)


def _unmount(directory: Path) -> bool:
    return _succeeds(["umount", str(directory)])


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
