"""Agentic workflows as twelve-factor processes on the MySQL you already have.

The public names for authors of workflows. Import everything else from its module.
"""

from importlib import import_module

TYPE_CHECKING = False  # importing typing would take a fifth of the time of `--help`
if TYPE_CHECKING:
    from twelvefold.app.app import App
    from twelvefold.app.questions import Question
    from twelvefold.app.run import Run
    from twelvefold.app.stream import RunEvent
    from twelvefold.app.sync import SyncApp
    from twelvefold.boot import open_services
    from twelvefold.config import Settings
    from twelvefold.core import (
        CallKey,
        Fallback,
        Principal,
        ReadOnly,
        RejectedCall,
        Resource,
        SyncReadOnly,
        SyncTransaction,
        Tool,
        Transaction,
        Workflow,
        tool,
    )
    from twelvefold.core.fan_out import FanOut
    from twelvefold.core.waiting import Ask, Wait
    from twelvefold.errors import DuplicateRow, ToolRefused
    from twelvefold.observe.trace_context import current_traceparent

__version__ = "0.1.0"
__all__ = [
    "App",
    "Ask",
    "CallKey",
    "DuplicateRow",
    "Fallback",
    "FanOut",
    "Principal",
    "Question",
    "ReadOnly",
    "RejectedCall",
    "Resource",
    "Run",
    "RunEvent",
    "Settings",
    "SyncApp",
    "SyncReadOnly",
    "SyncTransaction",
    "Tool",
    "ToolRefused",
    "Transaction",
    "Wait",
    "Workflow",
    "current_traceparent",
    "open_services",
    "tool",
]
_MODULES = {
    "twelvefold.app.app": ("App",),
    "twelvefold.app.questions": ("Question",),
    "twelvefold.app.run": ("Run",),
    "twelvefold.app.stream": ("RunEvent",),
    "twelvefold.app.sync": ("SyncApp",),
    "twelvefold.boot": ("open_services",),
    "twelvefold.config": ("Settings",),
    "twelvefold.core.fan_out": ("FanOut",),
    "twelvefold.core.models": ("Fallback",),
    "twelvefold.core.ports": (
        "CallKey",
        "Principal",
        "ReadOnly",
        "SyncReadOnly",
        "SyncTransaction",
        "Transaction",
    ),
    "twelvefold.core.tools.signature": ("Resource",),
    "twelvefold.core.tools.tool": ("Tool", "tool"),
    "twelvefold.core.waiting": ("Ask", "Wait"),
    "twelvefold.core.workflow": ("RejectedCall", "Workflow"),
    "twelvefold.errors": ("DuplicateRow", "ToolRefused"),
    "twelvefold.observe.trace_context": ("current_traceparent",),
}


def __getattr__(name: str) -> object:
    # Imported on first use: `twelvefold --help` needs none of them.
    for module, names in _MODULES.items():
        if name in names:
            found: object = getattr(import_module(module), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
