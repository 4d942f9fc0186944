import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twelvefold.core.ids import (
    THREAD_ID_LENGTH,
    RunId,
    ThreadId,
    call_id,
    parse_thread_id,
    position_of,
)
from twelvefold.errors import NotFound

THREAD = ThreadId("0123456789abcdef" * 2 + "0123456789ab")


def test_a_call_is_named_by_the_position_of_its_reply_and_its_index_there() -> None:
    assert call_id(12, 0) == "12.0"


def test_a_run_is_written_as_its_thread_and_its_ordinal() -> None:
    assert str(RunId(THREAD, 7)) == f"resp_{THREAD}7"


@settings(max_examples=25)
@given(
    st.text("0123456789abcdef", min_size=THREAD_ID_LENGTH, max_size=THREAD_ID_LENGTH),
    st.integers(1, 999_999_999),
)
def test_a_run_is_read_back_from_its_id(thread: str, ordinal: int) -> None:
    run = RunId(ThreadId(thread), ordinal)

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
def test_what_is_no_run_id_names_no_run(text: str) -> None:
    with pytest.raises(
        NotFound, match=r"no run .* a run's id is resp_, 44 hex digits and a number"
    ):
        RunId.parse(text)


def test_a_thread_is_read_with_and_without_its_prefix() -> None:
    assert parse_thread_id(f"conv_{THREAD}") == parse_thread_id(THREAD) == THREAD


@pytest.mark.parametrize("text", ["", "conv_", THREAD[1:], f"{THREAD}0", "é" * 44])
def test_what_is_no_thread_id_names_no_thread(text: str) -> None:
    with pytest.raises(NotFound, match=r"no thread .* a thread's id is 44 hex digits"):
        parse_thread_id(text)


def test_a_call_says_at_which_position_its_reply_is() -> None:
    assert position_of(call_id(12, 3)) == 12
