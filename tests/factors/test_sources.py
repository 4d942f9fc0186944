"""The analysis of the installed source code."""

import ast

import pytest

from twelvefold.factors.checks.dependencies import distribution_name
from twelvefold.factors.harness.source_code import (
    compared_constants,
    imported_packages,
    parse_modules,
    reads_environment,
)

CODE = """
import asyncio, aiohttp.web
from typing import TYPE_CHECKING
from twelvefold.core import ids
if TYPE_CHECKING:
    from only_for_types import Kind
else:
    import otherwise
def late():
    from inside.a import function
    import_module("by.name")
"""


def test_every_runtime_import_is_found_by_its_top_level_name() -> None:
    found = set(imported_packages(ast.parse(CODE)))

    assert found == {"asyncio", "aiohttp", "typing", "twelvefold", "otherwise", "inside", "by"}


@pytest.mark.parametrize(
    "code",
    [
        "if env == 'production': pass",
        "x = mode in ('Production', 'test')",
        "match env:\n    case 'production': pass",
        "URLS = {'production': 1}",
    ],
)
def test_a_comparison_with_the_name_of_an_environment_is_found(code: str) -> None:
    found = compared_constants(ast.parse(code), ("production",))

    assert [word.lower() for word in found] == ["production"]


def test_a_docstring_or_argument_with_that_name_is_not() -> None:
    code = "'''For production.'''\nprint('production')"

    assert list(compared_constants(ast.parse(code), ("production",))) == []


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("import os\nos.environ['A']", True),
        ("import os\nos.getenv('A')", True),
        ("from os import environ", True),
        ("def f(environ): return environ.get('A')", False),
    ],
)
def test_a_read_of_the_environment_is_found(code: str, reads: bool) -> None:
    assert reads_environment(ast.parse(code)) is reads


def test_all_modules_of_the_release_are_parsed() -> None:
    paths = {path.as_posix() for path in parse_modules()}

    assert {"boot/environment.py", "cli/main.py", "factors/harness/source_code.py"} <= paths


@pytest.mark.parametrize(
    "requirement",
    ["typing_extensions>=4.15", "Typing.Extensions", "typing-extensions[all]; python_version<'4'"],
)
def test_a_requirement_is_compared_by_its_normalized_name(requirement: str) -> None:
    assert distribution_name(requirement) == "typing-extensions"
