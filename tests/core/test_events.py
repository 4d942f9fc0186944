import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import asked, replied, said, succeeded
from tests.core.journals import scrambled
from twelvefold.core.events import KINDS, Event, RunFinished, Usage, decode, encode
from twelvefold.errors import StoreRefused


@settings(max_examples=40)
@given(scrambled)
def test_an_event_is_read_back_as_it_was_written(events: list[Event]) -> None:
    assert [decode(*encode(event)) for event in events] == events


@pytest.mark.parametrize(
    "text", ["", "\x00", "\u2028", "\U0001f600", "ß" * 3000, '"\\', "\x7f\u200f", "'; drop table"]
)
def test_odd_text_is_kept_as_it_is(text: str) -> None:
    events: list[Event] = [asked(text), said(text), succeeded(result=text)]

    assert [decode(*encode(event)) for event in events] == events


def test_half_of_a_surrogate_pair_is_refused_by_the_writer_and_not_left_to_the_reader() -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        encode(asked("\ud83d"))


def test_items_keep_the_order_of_their_keys() -> None:
    event = replied({"z": 1, "a": {"y": None, "b": [1.5, True]}})

    assert decode(*encode(event)) == event
    assert '"z":1,"a":{"y":null,"b":[1.5,true]}' in encode(event)[2]


def test_what_is_not_said_is_not_stored() -> None:
    assert encode(RunFinished("completed")) == ("RunFinished", 1, '{"status":"completed"}')


def test_a_newer_release_may_have_added_a_field() -> None:
    body = '{"status":"failed","reason":"rejected","added_later":[1]}'

    assert decode("RunFinished", 1, body) == RunFinished("failed", "rejected")


@pytest.mark.parametrize("name", [("RunStarted", 2), ("RunPaused", 1), ("", 0)])
def test_an_event_of_a_newer_release_is_refused_with_its_name(name: tuple[str, int]) -> None:
    with pytest.raises(StoreRefused, match=f"the journal holds {name[0]} version {name[1]}, which"):
        decode(*name, "{}")


@pytest.mark.parametrize("kind", sorted(kind for kind, _ in KINDS))
@pytest.mark.parametrize("body", ["", "[]", "{", '{"items":1,"call":2,"status":"?"}', "[" * 5000])
def test_a_body_that_is_none_is_refused_with_what_is_wrong(kind: str, body: str) -> None:
    with pytest.raises(StoreRefused, match=f"the journal holds a {kind} that cannot be read: "):
        decode(kind, 1, body)


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert Usage(1, 2, 3, 4).total_tokens == 3


@settings(max_examples=20)
@given(st.text())
def test_any_text_that_utf_8_can_carry_comes_back(text: str) -> None:
    assert decode(*encode(succeeded(result=text))) == succeeded(result=text)


def test_a_run_that_asks_for_nothing_else_stores_nothing_else() -> None:
    assert '"asked"' not in encode(asked())[2]
    assert decode(*encode(asked())) == asked()


def test_what_a_caller_asks_for_is_kept() -> None:
    started = asked(stream=True, tool_choice={"type": "function", "name": "x"}, metadata={"a": "b"})

    assert decode(*encode(started)) == started
    assert (
        '"asked":{"tool_choice":{"type":"function","name":"x"},"stream":true,' in encode(started)[2]
    )
