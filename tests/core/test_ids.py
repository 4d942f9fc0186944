import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twelvefold.core.ids import (
    THREAD_ID_LENGTH,
    RunId,
    ThreadId,
    call_id,
    family_of,
    parse_thread_id,
    position_of,
)
from twelvefold.errors import NotFound

THREAD = ThreadId("0123456789abcdef" * 2 + "0123456789ab")


def test_a_call_id_is_the_position_of_the_reply_and_the_index() -> None:
    assert call_id(12, 0) == "12.0"


def test_a_run_id_is_the_thread_and_the_ordinal() -> None:
    assert str(RunId(THREAD, 7)) == f"resp_{THREAD}7"


def test_a_family_is_the_first_digits_of_a_thread() -> None:
    assert family_of(THREAD) == "0123456789abcdef0123"


@settings(max_examples=25)
@given(
    st.integers(0, 16**THREAD_ID_LENGTH - 1),
    st.integers(1, 999_999_999),
)
def test_a_run_id_is_parsed_as_it_was_written(thread: int, ordinal: int) -> None:
    run = RunId(ThreadId(f"{thread:0{THREAD_ID_LENGTH}x}"), ordinal)

    assert RunId.parse(str(run)) == run


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resp_",
        "nonsense",
        f"resp_{THREAD}",
        f"resp_{THREAD}0",
        f"resp_{THREAD}01",
        f"resp_{THREAD}-1",
        f"resp_{THREAD}1\n",
        f"resp_{THREAD}1234567890",
        f"resp_{THREAD}²",
        f"resp_{THREAD.upper()}1",
        f"resp_conv_{THREAD}1",
    ],
)
def test_an_invalid_run_id_is_not_found(text: str) -> None:
    with pytest.raises(
        NotFound, match=r"no run .* a run's id is resp_, 44 hex digits and a number"
    ):
        RunId.parse(text)


def test_a_thread_id_is_parsed_with_and_without_its_prefix() -> None:
    assert parse_thread_id(f"conv_{THREAD}") == parse_thread_id(THREAD) == THREAD


@pytest.mark.parametrize("text", ["", "conv_", THREAD[1:], f"{THREAD}0", "é" * 44])
def test_an_invalid_thread_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match=r"no thread .* a thread's id is 44 hex digits"):
        parse_thread_id(text)


def test_a_call_id_holds_the_position_of_its_reply() -> None:
    assert position_of(call_id(12, 3)) == 12
