"""It is noon at the database: no day and no month ends during a test."""

import pytest

from tests.engine.stage import Stage
from twelvefold.services.store.sql.base import wall_clock_us

DAY_S = 24 * 3_600


@pytest.fixture(autouse=True)
def _noon(stage: Stage) -> None:
    stage.let_time_pass((DAY_S / 2 - wall_clock_us() / 1_000_000) % DAY_S)
