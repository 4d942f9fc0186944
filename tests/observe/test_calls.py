"""No log call in the package formats an exception, because a log must not have its message."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import twelvefold

SOURCES = sorted(Path(twelvefold.__file__).parent.rglob("*.py"))
DECLARATION_EVENTS = {"tool_not_prepared", "output_not_prepared"}
"""Events with an exception about a declaration, which cannot contain arguments."""


def texts_of_exceptions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Return the line and event of each log call that formats a caught exception."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        for call in ast.walk(handler):
            if isinstance(call, ast.Call) and _is_log(call) and _formats(call, handler.name):
                event = call.args[0]
                yield call.lineno, str(event.value if isinstance(event, ast.Constant) else "")


def _is_log(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
    )


def _formats(call: ast.Call, name: str) -> bool:
    """Return whether an argument is made of the exception, other than its type or itself."""
    for keyword in call.keywords:
        value = keyword.value
        is_whole = isinstance(value, ast.Name)
        is_type = isinstance(value, ast.Attribute) and "type(" in ast.unparse(value)
        names = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
        if name in names and not (is_whole or is_type):
            return True
    return False


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("error", False),
        ("type(error).__name__", False),
        ("str(error)", True),
        ("f'{error}'", True),
        ("error.args", True),
    ],
)
def test_formatting_an_exception_is_found(argument: str, found: bool) -> None:
    source = f"try:\n  f()\nexcept E as error:\n  log.error('x', error={argument})"

    assert bool([*texts_of_exceptions(ast.parse(source))]) is found


def test_no_log_call_formats_an_exception() -> None:
    found = [
        (path.name, line, event)
        for path in SOURCES
        for line, event in texts_of_exceptions(ast.parse(path.read_text()))
        if event not in DECLARATION_EVENTS
    ]

    assert found == []
