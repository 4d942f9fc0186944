"""How long replies and calls took, in their entries."""

from typing import TypeVar

from msgspec import structs

from twelvefold.core import ModelReplied, ToolFailed, ToolSucceeded, WaitStarted
from twelvefold.engine.services import Services

Timed = TypeVar("Timed", bound=ModelReplied | ToolSucceeded | ToolFailed | WaitStarted)


def with_duration(services: Services, event: Timed, began: float) -> Timed:
    """Return the entry with the time since `began`, by `Services.monotonic`.

    Unchanged until it is known that no older release reads the journal.
    """
    if not services.gate.was_open:
        return event
    return structs.replace(event, took_us=round((services.monotonic() - began) * 1_000_000))
