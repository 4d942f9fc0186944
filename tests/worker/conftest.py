"""The fixtures of the engine's tests, and the log of a test as text."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from tests.engine.conftest import frequent_renewals, loop_clock, stage, template
from twelvefold.observe.log import start_logging

__all__ = ["frequent_renewals", "log", "loop_clock", "stage", "template"]


@pytest.fixture
def log() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    start_logging(stream := StringIO(), format="json")
    yield stream
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)
