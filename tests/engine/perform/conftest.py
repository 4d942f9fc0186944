"""A process, a clock that a test sets, and short leases."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.leases import Clock, RenewingStore, lease_of
from tests.engine.stage import Stage
from twelvefold.engine.lease import HeldLease
from twelvefold.engine.services import Services


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(stage: Stage) -> Services:
    return stage.process()


@pytest.fixture
def short(clock: Clock) -> Callable[..., HeldLease]:
    """Return leases that lapse soon after the test sets the clock past their end."""

    def make(*answers: Any) -> HeldLease:
        held = lease_of(clock, RenewingStore(*answers))
        held.lease_s = 0.02
        held.valid_until = clock.now + 0.02
        return held

    return make
