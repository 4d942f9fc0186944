"""Test your workflows: an app on a temporary database, a scripted model, and real kills.

The fixtures of the pytest plugin are in `twelvefold.testing.plugin`.
"""

from importlib import import_module

TYPE_CHECKING = False  # importing typing would delay the start of every pytest that has the plugin
if TYPE_CHECKING:
    from twelvefold.testing.app import TestApp
    from twelvefold.testing.assertions import assert_called, assert_not_called, assert_rows
    from twelvefold.testing.clock import FrozenClock
    from twelvefold.testing.crash.matrix import crash_matrix
    from twelvefold.testing.crash.report import CrashReport
    from twelvefold.testing.database import temporary_database
    from twelvefold.testing.model import ScriptedModel, call, cassette, outage, refusal
    from twelvefold.testing.sync import SyncTestApp

__all__ = [
    "CrashReport",
    "FrozenClock",
    "ScriptedModel",
    "SyncTestApp",
    "TestApp",
    "assert_called",
    "assert_not_called",
    "assert_rows",
    "call",
    "cassette",
    "crash_matrix",
    "outage",
    "refusal",
    "temporary_database",
]
_MODULES = {
    "twelvefold.testing.app": ("TestApp",),
    "twelvefold.testing.assertions": ("assert_called", "assert_not_called", "assert_rows"),
    "twelvefold.testing.clock": ("FrozenClock",),
    "twelvefold.testing.crash.matrix": ("crash_matrix",),
    "twelvefold.testing.crash.report": ("CrashReport",),
    "twelvefold.testing.database": ("temporary_database",),
    "twelvefold.testing.model": ("ScriptedModel", "call", "cassette", "outage", "refusal"),
    "twelvefold.testing.sync": ("SyncTestApp",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            found: object = getattr(import_module(module), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
