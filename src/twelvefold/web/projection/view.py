"""How a response is to be shown: what the settings and its run's start say about it."""

from dataclasses import dataclass

from twelvefold.core.events import RunStarted
from twelvefold.web.schemas.types import ToolItems, ToolOutputs


@dataclass(frozen=True, slots=True)
class View:
    """`label` is the workflow's name; `started` is the run's, for a later part of it too.

    Whoever answers a request for approval may change what was asked for then, and `background`.
    """

    label: str
    tool_items: ToolItems
    tool_outputs: ToolOutputs
    background: bool
    started: RunStarted
