"""What an operator searches for: an id, the beginning of one, or a part of an error."""

import pytest

from twelvefold.core.ports.operations import RunFilter
from twelvefold.core.run_search import with_search

THREAD = "0190a1b2c3d4" + "e" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", RunFilter()),
        (f"resp_{THREAD}12", RunFilter(id_prefix=THREAD, ordinal=12)),
        (f"resp_{THREAD}", RunFilter(id_prefix=THREAD)),
        (f" conv_{THREAD} ", RunFilter(id_prefix=THREAD)),
        (f"conv_{THREAD}1", RunFilter(id_prefix=THREAD)),
        (f"chatcmpl-{THREAD}3", RunFilter(id_prefix=THREAD, ordinal=3)),
        ("resp_0190a1", RunFilter(id_prefix="0190a1")),
        ("0190a1b2", RunFilter(id_prefix="0190a1b2")),
        ("0190a1b", RunFilter(error="0190a1b")),
        ("resp_0190zz", RunFilter(error="resp_0190zz")),
        ("connection refused", RunFilter(error="connection refused")),
    ],
)
def test_a_text_is_an_id_or_a_part_of_an_error(text: str, expected: RunFilter) -> None:
    assert with_search(RunFilter(), text) == expected


def test_the_other_conditions_remain() -> None:
    assert with_search(RunFilter(workflow="shop"), "boom") == RunFilter(
        workflow="shop", error="boom"
    )
