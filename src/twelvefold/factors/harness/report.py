"""The report of one check: its evidence, line by line, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from twelvefold.factors.harness.machine_load import MachineLoad

Result = Literal["pass", "fail", "not claimed", "inconclusive"]


@dataclass(slots=True)
class Report:
    """Collects the evidence of one check in the order of its observations."""

    load: MachineLoad
    evidence: list[str] = field(default_factory=list)
    result: Result = "pass"

    def record(self, fact: str) -> None:
        self.evidence.append(fact)

    def expect(self, holds: bool, fact: str, otherwise: str) -> None:
        """Record the fact if it holds. Otherwise fail the check with what was observed instead."""
        if holds:
            self.record(fact)
        else:
            self.fail(otherwise)

    def expect_in_time(self, holds: bool, fact: str, otherwise: str) -> None:
        """Like `expect`, but inconclusive instead of failed on a busy machine."""
        if holds or not self.load.is_busy():
            self.expect(holds, fact, otherwise)
        else:
            self.mark_inconclusive(f"{otherwise}; the machine is too busy for a result")

    def fail(self, reason: str) -> None:
        self.result = "fail"
        self.evidence.append(f"failed: {reason}")

    def mark_inconclusive(self, reason: str) -> None:
        """The check ran out of time. Earlier failures stand."""
        if self.result != "fail":
            self.result = "inconclusive"
        self.evidence.append(f"inconclusive: {reason}")

    def mark_not_claimed(self, reason: str) -> None:
        """The factor cannot be claimed with the services that are attached; not a failure."""
        if self.result == "pass":
            self.result = "not claimed"
        self.evidence.append(f"not claimed: {reason}")


def first_names(names: Sequence[str]) -> str:
    """Join the first three names and count the others."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
