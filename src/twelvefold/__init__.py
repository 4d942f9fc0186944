"""Agentic workflows as twelve-factor processes on the MySQL you already have.

These are the names that the author of a workflow imports.
"""

from importlib import import_module

TYPE_CHECKING = False  # as in typing, whose import would be a fifth of what `--help` costs
if TYPE_CHECKING:
    from twelvefold.boot import open_services
    from twelvefold.config import Settings
    from twelvefold.core.ports import CallKey, Principal, ReadOnly, Transaction
    from twelvefold.core.workflow import RejectedCall, Tool, Workflow, tool
    from twelvefold.errors import DuplicateRow, ToolRefused

__version__ = "0.1.0"
__all__ = [
    "CallKey",
    "DuplicateRow",
    "Principal",
    "ReadOnly",
    "RejectedCall",
    "Settings",
    "Tool",
    "ToolRefused",
    "Transaction",
    "Workflow",
    "open_services",
    "tool",
]
_HOMES = {
    "twelvefold.boot": ("open_services",),
    "twelvefold.config": ("Settings",),
    "twelvefold.core.ports": ("CallKey", "Principal", "ReadOnly", "Transaction"),
    "twelvefold.core.workflow": ("RejectedCall", "Tool", "Workflow", "tool"),
    "twelvefold.errors": ("DuplicateRow", "ToolRefused"),
}


def __getattr__(name: str) -> object:
    # On first use: the command line imports this package first, and `--help` needs none of them.
    for home, names in _HOMES.items():
        if name in names:
            found: object = getattr(import_module(home), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
