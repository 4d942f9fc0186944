"""A text ends at its stop sequence, however it is split into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twelvefold.web.projection.stop_sequences import StopFilter, cut_at_stop


def in_pieces(pieces: list[str], sequences: list[str]) -> tuple[str, bool]:
    stop = StopFilter(sequences)
    text = "".join(stop.add(piece) for piece in pieces) + stop.end()
    return text, stop.stopped


@pytest.mark.parametrize(
    ("text", "sequences", "kept"),
    [
        ("one two", [], "one two"),
        ("one two", ["three"], "one two"),
        ("one two", ["two"], "one "),
        ("one two", ["one"], ""),
        ("one two one", ["one", "two"], ""),
        ("a\n\nb", ["\n\n"], "a"),
        ("ab abc", ["abc"], "ab "),
        ("aab", ["ab"], "a"),
        ("xabc", ["xabc", "ab"], "x"),
        ("xab", ["xab", "ab"], ""),
        ("né\u2028👋 end", ["👋"], "né\u2028"),
        ("half of a sequ", ["sequence"], "half of a sequ"),
    ],
)
def test_a_text_ends_before_the_sequence_that_is_complete_first(
    text: str, sequences: list[str], kept: str
) -> None:
    assert cut_at_stop(text, sequences) == (kept, kept != text)
    assert in_pieces(list(text), sequences) == (kept, kept != text)


letters = st.text(alphabet="ab", max_size=12)


@given(st.lists(letters, max_size=6), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_end_does_not_depend_on_the_pieces(pieces: list[str], sequences: list[str]) -> None:
    assert in_pieces(pieces, sequences) == cut_at_stop("".join(pieces), sequences)


def test_text_that_cannot_begin_a_sequence_is_sent_at_once() -> None:
    stop = StopFilter(["STOP"])

    assert [stop.add(piece) for piece in ("abc", "ST", "AR", "S", "TOP", "more")] == [
        *("abc", "", "STAR", "", "", ""),
    ]
    assert stop.end() == ""
