import pytest

from tests.builders import asked, entries
from twelvefold.core.ports import CallKey, Listener, NullListener, Schema, ToolSpec


def test_the_null_listener_ignores_everything() -> None:
    listener: Listener = NullListener()

    listener.text("hello")
    listener.restarted("the reply was cut off")
    listener.recorded(*entries(asked()))


def test_a_call_key_is_text() -> None:
    assert CallKey("t:2.0") == "t:2.0"


def test_the_size_of_a_tool_is_about_that_of_its_json() -> None:
    assert ToolSpec("look", "Look.", {"type": 1}).size == len('Look.{"type": 1}')


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
