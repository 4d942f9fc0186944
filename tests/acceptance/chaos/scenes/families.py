"""Runs that wait for other runs, people, events and times, under SIGKILL each second.

They need neither web nor mail, so they have programs of their own in place of the arena.
"""

import random
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.scenes.scene import Scene
from tests.acceptance.chaos.verdict import Verdict
from tests.acceptance.families import __main__ as families
from tests.acceptance.waits import __main__ as waits
from tests.servers import PrivateMariaDB

WORKERS = 3


class OwnStage(Scene):
    """A scene with processes of its own on a MariaDB."""

    async def play(self, runs: int, chance: random.Random) -> Verdict:
        """Play the scene to its verdict."""
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as directory,
            PrivateMariaDB(Path(directory) / "server") as server,
        ):
            return await self.judge(server.url, runs, chance.randrange(2**32))

    @abstractmethod
    async def judge(self, url: str, runs: int, seed: int) -> Verdict:
        """Play the scene on a server, and compare what is left with the plan."""

    async def faults(self, arena: Arena) -> None:
        """Do nothing: there is no arena."""

    def seen(self, arena: Arena) -> int:
        return 0


class ChildrenKilled(OwnStage):
    """Each run starts four runs of another workflow; a worker gets SIGKILL each second."""

    name: ClassVar[str] = "children-killed"

    async def judge(self, url: str, runs: int, seed: int) -> Verdict:
        report = await families.play(url, runs, WORKERS, seed)
        return Verdict(
            self.name,
            runs=runs,
            completed=report.completed,
            lost=report.lost,
            doubled=report.doubled,
            stuck=report.unfinished,
            wrong=report.orphans,
            seen=report.kills,
            took_s=report.took_s,
            why=() if report.is_clean else (str(report),),
        )


class WaitsKilled(OwnStage):
    """Each run waits for an answer, an event, a time and an approval; SIGKILL each second."""

    name: ClassVar[str] = "waits-killed"

    async def judge(self, url: str, runs: int, seed: int) -> Verdict:
        report = await waits.play(url, runs, WORKERS, seed)
        return Verdict(
            self.name,
            runs=runs,
            completed=report.completed,
            lost=report.lost,
            doubled=report.doubled,
            stuck=report.unfinished,
            wrong=len(report.wrong),
            seen=report.kills,
            took_s=report.took_s,
            why=report.wrong,
        )
