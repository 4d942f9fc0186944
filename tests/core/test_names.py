"""Names of principals and keys of requests."""

import pytest

from twelvefold.core.names import abbreviate, is_name, is_request_key, name_problem

RULE = "use 1 to 255 printable characters, without a space at either end"


@pytest.mark.parametrize("name", ["ann", "a", "a b", "Zoë", "x" * 255, "org/7:ann@example.org"])
def test_a_name_is_printable_text(name: str) -> None:
    assert is_name(name)
    assert name_problem("principal", name) == ""


@pytest.mark.parametrize(
    "name", ["", " ", "\t", " ann", "ann ", "a\nb", "a\0b", "\ud800", "x" * 256, None, 7, b"ann"]
)
def test_anything_else_is_no_name(name: object) -> None:
    assert not is_name(name)
    assert name_problem("principal", name) == f"principal is {abbreviate(name)}; {RULE}"


def test_the_error_for_a_long_name_is_short() -> None:
    assert len(name_problem("principal", "x" * 10_000)) < 200


@pytest.mark.parametrize(
    ("key", "valid"),
    [("ticket-7", True), ("~" * 255, True), ("", False), ("a b", False), ("ö", False), (5, False)],
)
def test_a_key_of_a_request_is_visible_ascii(key: object, valid: bool) -> None:
    assert is_request_key(key) == valid
