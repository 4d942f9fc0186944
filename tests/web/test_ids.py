"""The ids of the API: formatted and parsed; any other text is not found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.errors import NotFound
from twelvefold.web import ids
from twelvefold.web.ids import ItemLocation, ResponseId

THREAD = ThreadId("019" + "c" * 41)
"""With many a `c`, which also separates a run from its part."""
threads = st.text("0123456789abcdef", min_size=44, max_size=44).map(ThreadId)
numbers = st.integers(1, 10**9 - 1)


@given(thread=threads, run=numbers, part=st.integers(0, 10**9 - 1))
def test_a_response_id_is_read_back(thread: ThreadId, run: int, part: int) -> None:
    id = ResponseId(RunId(thread, run), part)

    assert ResponseId.parse(str(id)) == id


def test_the_first_response_of_a_run_has_the_runs_own_id() -> None:
    run = RunId(THREAD, 3)

    assert str(ResponseId(run)) == str(run) == f"resp_{THREAD}3"
    assert str(ResponseId(run, 2)) == f"resp_{THREAD}3c2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resp_000",
        f"resp_{THREAD}",
        f"{THREAD}1",
        f"resp_{THREAD}0",
        f"resp_{THREAD}01",
        f"resp_{THREAD}1c",
        f"resp_{THREAD}1c0",
        f"resp_{THREAD}1c01",
        f"resp_{THREAD}1c1c1",
        f"resp_{THREAD}1 ",
        f"resp_{THREAD}1\n",
        f"resp_{THREAD}1c1\n",
        f"resp_{THREAD}\u0661",
        f"resp_{THREAD.upper()}1",
        f"conv_{THREAD}",
    ],
)
def test_no_other_text_is_a_response_id(text: str) -> None:
    with pytest.raises(NotFound, match="no response"):
        ResponseId.parse(text)


def test_a_conversation_id_is_read_back() -> None:
    assert ids.parse_conversation_id(ids.conversation_id(THREAD)) == THREAD


@pytest.mark.parametrize("text", ["", "conv_1", THREAD, f"resp_{THREAD}1", f"conv_{THREAD}1"])
def test_no_other_text_is_a_conversation_id(text: str) -> None:
    with pytest.raises(NotFound, match="no conversation"):
        ids.parse_conversation_id(text)


def test_an_approval_request_id_names_its_call() -> None:
    call = CallId("12.0")

    assert ids.parse_approval_id(ids.approval_id(THREAD, call)) == (THREAD, call)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mcpr_1",
        f"mcpr_{THREAD}12",
        f"mcp_{THREAD}12.0",
        f"mcpr_{THREAD}0.0",
        f"mcpr_{THREAD}1.x",
    ],
)
def test_no_other_text_is_an_approval_request(text: str) -> None:
    with pytest.raises(NotFound, match="no approval request"):
        ids.parse_approval_id(text)


@pytest.mark.parametrize(
    ("id", "shown"),
    [
        (ids.message_id(THREAD, 7), False),
        (ids.message_id(THREAD, 7, 2), False),
        (ids.message_id(THREAD, 7, first_delta=1), True),
        (ids.message_id(THREAD, 7, first_delta=12), True),
        (ids.input_id(THREAD, 7, 0, "message"), False),
        (ids.input_id(THREAD, 7, 3, "function_call_output"), False),
        (ids.input_id(THREAD, 7, 3, "something_new"), False),
        (ids.tool_call_id(THREAD, CallId("7.1")), False),
        (ids.function_call_id(THREAD, CallId("7.1")), False),
        (ids.function_output_id(THREAD, CallId("7.1")), False),
        (ids.approval_id(THREAD, CallId("7.1")), False),
        (ids.approval_answer_id(THREAD, CallId("7.1")), False),
    ],
)
def test_an_item_id_names_the_position_of_the_item(id: str, shown: bool) -> None:
    assert ids.parse_item_id(id) == ItemLocation(THREAD, 7, shown)


@pytest.mark.parametrize(
    "text",
    ["", "msg_1", f"msg_{THREAD}", f"resp_{THREAD}1", f"msg_{THREAD}1x0", f"msg_{THREAD}1\n"],
)
def test_no_other_text_is_an_item_id(text: str) -> None:
    with pytest.raises(NotFound, match="no item"):
        ids.parse_item_id(text)


def test_items_of_one_position_have_different_ids() -> None:
    given_up, whole = ids.message_id(THREAD, 7, first_delta=1), ids.message_id(THREAD, 7)
    again = ids.message_id(THREAD, 7, first_delta=11)
    said = ids.input_id(THREAD, 7, 0, "message")

    assert len({given_up, whole, again, said, ids.message_id(THREAD, 7, 1)}) == 5
