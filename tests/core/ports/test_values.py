from tests.builders import asked, entries
from twelvefold.core.ports import CallKey, Listener, NullListener, ToolSpec


def test_silence_hears_everything_and_does_nothing() -> None:
    silence: Listener = NullListener()

    silence.text("hello")
    silence.restarted("the reply was cut off")
    silence.recorded(*entries(asked()))


def test_a_call_key_is_text() -> None:
    assert CallKey("t:2.0") == "t:2.0"


def test_a_schema_is_about_as_long_as_its_json() -> None:
    assert ToolSpec("look", "Look.", {"type": 1}).size == len('Look.{"type": 1}')
