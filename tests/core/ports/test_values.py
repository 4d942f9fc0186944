from tests.builders import asked, entries
from twelvefold.core.ports import CallKey, Listener, NullListener, ToolSpec


def test_the_null_listener_ignores_everything() -> None:
    silence: Listener = NullListener()

    silence.text("hello")
    silence.restarted("the reply was cut off")
    silence.recorded(*entries(asked()))


def test_a_call_key_is_text() -> None:
    assert CallKey("t:2.0") == "t:2.0"


def test_the_size_of_a_tool_is_about_that_of_its_json() -> None:
    assert ToolSpec("look", "Look.", {"type": 1}).size == len('Look.{"type": 1}')
