"""The calls that each run of the chaos scenes makes, and the tickets that name them.

A ticket is the run's thread, a colon and the number of the call: every effect carries the ticket
of its call, so that an effect without a call, or two effects of one call, can be distinguished.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Variant = Literal["plain", "blocking_keyed", "blocking_unsafe", "long_in_thread", "short"]
"""What the second and third reply call: two of them block the event loop, one a thread.

A short run has a call of each effect but the unsafe one.
"""
_TOOLS: dict[Variant, tuple[str, str]] = {
    "plain": ("ring", "charge"),
    "blocking_keyed": ("ring", "charge_blocking"),
    "blocking_unsafe": ("ring_blocking", "charge"),
    "long_in_thread": ("ring", "charge_in_thread"),
}
REFUNDS = frozenset({"refund"})
MAILS = frozenset({"send_letter"})
BLOCKING = frozenset({"ring_blocking", "charge_blocking"})
UNSAFE = frozenset({"ring", "ring_blocking", "ring_in_thread"})
KEYED = frozenset({"charge", "charge_blocking", "charge_in_thread"})


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One tool call of a run."""

    tool: str
    ticket: str


def replies(thread: str, variant: Variant) -> list[list[PlannedCall]]:
    """The calls of each reply of the model; one more reply ends the run."""
    planned: list[list[PlannedCall]] = []
    number = 0
    for reply in _tools(variant):
        planned.append([])
        for tool in reply:
            number += 1
            planned[-1].append(PlannedCall(tool, f"{thread}:{number}"))
    return planned


def _tools(variant: Variant) -> Sequence[Sequence[str]]:
    if variant == "short":
        return (("place_order",), ("charge",), ("refund",), ("send_letter",))
    ring, charge = _TOOLS[variant]
    return (
        ("place_order",),
        (ring,),
        (charge,),
        ("place_order", "ring_in_thread"),
        ("refund",),
        ("send_letter",),
    )


def calls(thread: str, variant: Variant) -> list[PlannedCall]:
    """All calls of a run, in their order."""
    return [call for reply in replies(thread, variant) for call in reply]


def thread_of(ticket: str) -> str:
    return ticket.partition(":")[0]


def message(thread: str, variant: Variant) -> str:
    """The user message that the model reads the plan from."""
    return f"Handle {thread} as {variant}."
