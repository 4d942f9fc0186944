"""The messages, codes and log events of the troubleshooting page are those of the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = [message for _, message in re.findall(r"^### (`+)(.+)\1$", PAGE, re.MULTILINE)]
MINIMUM_LENGTH = 8
"""Characters of a message without its variable parts."""


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_one_that_the_code_has(message: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)

    assert len(message.replace("…", "").strip()) >= MINIMUM_LENGTH
    found = any(pattern.search(text) for text in texts_of_the_code())
    assert found, f"no text in src/ matches {message!r}: update docs/troubleshooting.md"


def test_each_code_and_log_event_is_one_that_the_code_has() -> None:
    first_columns = " ".join(re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE))
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", first_columns))

    assert names
    assert sorted(names - set(texts_of_the_code())) == []


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """Each text in the source, with … for the parts that vary."""
    sources = sorted((ROOT / "src" / "twelvefold").rglob("*.py"))
    return tuple(text for path in sources for text in texts(ast.parse(path.read_text())))


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(getattr(part, "value", "…")) for part in _parts(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _parts(node: ast.JoinedStr) -> Iterator[ast.Constant]:
    for part in node.values:
        yield part if isinstance(part, ast.Constant) else ast.Constant("…")
