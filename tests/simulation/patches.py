"""Gives the code under test other clocks and other random numbers; the only place that does.

Its modules have `time`, `random` and `secrets` as names; these are replaced, not the modules.
"""

import logging
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.simulation.loop import Timeline
from twelvefold.engine.perform import tool_thread
from twelvefold.observe import log


class _Secrets:
    """Tokens that are the same in every run of a seed."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng

    def token_hex(self, size: int = 32) -> str:
        return self._random.randbytes(size).hex()


@contextmanager
def patched(timeline: Timeline, seed: int) -> Iterator[None]:
    """Give all modules of `twelvefold` virtual time and seeded random numbers; silence its log."""
    rng = random.Random(f"code {seed}")

    def monotonic() -> float:
        return timeline.current.time() if timeline.current else timeline.now

    clock = SimpleNamespace(monotonic=monotonic, time_ns=lambda: int(monotonic() * 1e9))
    others: dict[Any, Any] = {time: clock, random: rng, secrets: _Secrets(rng)}
    replaced = [
        (module, name, value)
        for module in _modules()
        for name in ("time", "random", "secrets")
        if (value := vars(module).get(name)) in (time, random, secrets)
    ]
    for module, name, value in replaced:
        setattr(module, name, others[value])
    tools: Any = tool_thread
    thread, tools.Thread = tools.Thread, _Thread
    _timelines.append(timeline)
    loggers = [logging.getLogger("twelvefold"), logging.getLogger("asyncio")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        _timelines.pop()
        tools.Thread = thread
        for module, name, value in replaced:
            setattr(module, name, value)


_timelines: list[Timeline] = []


class _Thread:
    """A thread of the process that starts it."""

    def __init__(
        self, target: Callable[..., object], args: tuple[Any, ...], name: str, daemon: bool
    ) -> None:
        self._work = partial(target, *args)

    def start(self) -> None:
        current = _timelines[-1].current
        assert current is not None
        current.process.start_thread(self._work)


class _Printer(logging.Handler):
    """Prints log lines with virtual times and the names of processes."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def emit(self, record: logging.LogRecord) -> None:
        current = self._timeline.current
        name = current.process.name if current else ""
        fields = {**(log._BOUND.get() or {}), **getattr(record, "fields", {})}
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        print(f"{self._timeline.now:9.3f} {name:7} {record.getMessage()} {words}")


@contextmanager
def logged(timeline: Timeline, level: int | None) -> Iterator[None]:
    """Print the log of `twelvefold` from this level on; None prints nothing."""
    if level is None:
        yield
        return
    logger, printer = logging.getLogger("twelvefold"), _Printer(timeline)
    logger.addHandler(printer)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(printer)


def _modules() -> list[Any]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("twelvefold.") and module is not None
    ]
