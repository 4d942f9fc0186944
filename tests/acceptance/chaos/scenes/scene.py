"""The base class of scenes, and the length of faults."""

from abc import ABC, abstractmethod
from typing import ClassVar

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.terms import AT_ONCE, Terms

FAULT_S = 6.0
LONG_FAULT_S = 20.0


class Scene(ABC):
    """One kind of fault. `terms` are the options of the arena.

    `missing` says what this machine lacks for the scene; "" if it can be played.
    """

    name: ClassVar[str]
    missing = ""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms(AT_ONCE)

    @abstractmethod
    async def faults(self, arena: Arena) -> None:
        """Begin and end the faults; no fault is active when this returns."""

    @abstractmethod
    def seen(self, arena: Arena) -> int:
        """Return how often the fault has reached the processes."""
