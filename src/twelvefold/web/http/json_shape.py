"""How many values a JSON text has and how deep they are, counted in its bytes.

A text of 4 MB can have two million arrays, which take seconds to walk through and 200 MB to hold.
Counting brackets and commas takes milliseconds.
"""

MAX_DEPTH = 64
"""Arrays and objects within one another; the deepest schema of a tool seen so far had 14."""
MAX_VALUES = 250_000
"""Members of all arrays and objects together: one for every 16 bytes of the longest body."""
_MARKS = b'[]{},"'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_ALIKE = bytes.maketrans(b"{}", b"[]")


def marks_of(text: bytes) -> bytes:
    """The brackets and commas of a JSON text in order, braces as brackets; `""` if they are few."""
    if sum(text.count(mark) for mark in (b"[", b"{", b",")) <= MAX_DEPTH:
        return b""
    # Without escapes each quote begins or ends a string, and every other piece is outside.
    bare = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_ALIKE, delete=_OTHERS)
    # Most strings have no marks, and are two quotes by now. Two in a row become one, which is fine.
    return b"".join(bare.replace(b'""', b"").split(b'"')[::2])


def has_too_many_values(marks: bytes) -> bool:
    return marks.count(b"[") + marks.count(b",") > MAX_VALUES


def is_too_deep(marks: bytes) -> bool:
    """Whether brackets are nested more deeply than allowed, in a text whose brackets match."""
    left = marks.replace(b",", b"")
    for _ in range(MAX_DEPTH):
        left = left.replace(b"[]", b"")
    return bool(left)
