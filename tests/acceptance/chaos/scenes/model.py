"""Faults of the model's server."""

import asyncio
from typing import ClassVar

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.model import Fault
from tests.acceptance.chaos.scenes.scene import LONG_FAULT_S, Scene
from tests.acceptance.chaos.terms import AT_ONCE, Terms


class _ModelFault(Scene):
    fault: ClassVar[Fault]
    lasts_s: ClassVar[float] = LONG_FAULT_S

    def __init__(self) -> None:
        super().__init__(Terms(AT_ONCE, settings={"MODEL_TIMEOUT_S": "6"}))

    async def faults(self, arena: Arena) -> None:
        arena.model.fault = self.fault
        await asyncio.sleep(self.lasts_s)
        arena.model.fault = None
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return arena.model.faults


class ModelBusy(_ModelFault):
    """The model's server answers every request with 429, for a minute."""

    name: ClassVar[str] = "model-429"
    fault = "busy"
    lasts_s = 60.0


class ModelHangs(_ModelFault):
    """Replies stop in the middle, or before their first byte, and the connection stays open."""

    name: ClassVar[str] = "model-hanging"
    fault = "hanging"


class ModelCuts(_ModelFault):
    """Replies end in the middle, with a reset of the connection."""

    name: ClassVar[str] = "model-cutting"
    fault = "cutting"
