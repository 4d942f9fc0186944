"""What a check says: what was done and seen, what did not hold, and what cannot be claimed here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from twelvefold.factors.scene import Scene

Result = Literal["pass", "fail", "not claimed"]


@dataclass(slots=True)
class Witness:
    """Takes down one check's evidence, a line each, in the order in which it was seen."""

    evidence: list[str] = field(default_factory=list)
    result: Result = "pass"

    def saw(self, fact: str) -> None:
        self.evidence.append(fact)

    def expect(self, holds: bool, fact: str, otherwise: str) -> None:
        """The fact if it holds; else what was seen in its place, which fails the check."""
        if holds:
            self.saw(fact)
        else:
            self.fail(otherwise)

    def fail(self, why: str) -> None:
        self.result = "fail"
        self.evidence.append(f"failed: {why}")

    def leave(self, why: str) -> None:
        """What cannot be claimed, and why; no failure."""
        if self.result == "pass":
            self.result = "not claimed"
        self.evidence.append(f"not claimed: {why}")


Check = Callable[["Scene", Witness], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Factor:
    """A line of the table: its number, its name, and how it is tried."""

    number: str
    name: str
    check: Check


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one factor."""

    factor: Factor
    result: Result
    evidence: tuple[str, ...]
    took_s: float
