"""What a database serves."""

import pytest

from twelvefold.core.ports import Schema


@pytest.mark.parametrize(
    ("level", "serves", "fits"),
    [
        ("0003", "0003", True),
        ("0004", "0003", True),
        ("0004", "0002", True),
        ("0004", "0004", False),
        ("0002", "0002", False),
    ],
)
def test_a_schema_fits_releases_from_the_level_it_serves_to_its_own(
    level: str, serves: str, fits: bool
) -> None:
    assert Schema(level, serves).fits("0003") is fits
