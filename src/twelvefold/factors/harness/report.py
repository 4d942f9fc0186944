"""What a check reports: its evidence, what failed, and what it could not decide here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twelvefold.factors.harness.machine_load import is_busy

if TYPE_CHECKING:
    from twelvefold.factors.harness.testbed import Scene

Result = Literal["pass", "fail", "not claimed", "inconclusive"]


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

    def expect_in_time(self, holds: bool, fact: str, otherwise: str) -> None:
        """As `expect`, but inconclusive where the machine is too busy."""
        if holds or not is_busy():
            self.expect(holds, fact, otherwise)
        else:
            self.cut_short(f"{otherwise}; the machine is too busy to tell")

    def fail(self, why: str) -> None:
        self.result = "fail"
        self.evidence.append(f"failed: {why}")

    def cut_short(self, why: str) -> None:
        """The check had no time; what it saw until then stands, and nothing has failed."""
        if self.result != "fail":
            self.result = "inconclusive"
        self.evidence.append(f"inconclusive: {why}")

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
