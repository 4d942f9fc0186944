"""What is read out of the release's code."""

import ast

import pytest

from twelvefold.factors.checks.codebase import _plain
from twelvefold.factors.harness.source_code import (
    compared_with,
    imports,
    modules,
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


def test_every_import_that_runs_is_found_by_its_top_name() -> None:
    found = set(imports(ast.parse(CODE)))

    wanted = {"asyncio", "aiohttp", "typing", "twelvefold", "otherwise", "inside", "by"}
    assert found == wanted


@pytest.mark.parametrize(
    "code",
    [
        "if env == 'production': pass",
        "x = mode in ('Production', 'test')",
        "match env:\n    case 'production': pass",
        "URLS = {'production': 1}",
    ],
)
def test_code_that_asks_for_an_environment_by_name_is_found(code: str) -> None:
    assert [one.lower() for one in compared_with(ast.parse(code), ("production",))] == [
        "production"
    ]


def test_a_text_that_only_mentions_it_is_not() -> None:
    code = "'''For production.'''\nsay('production')"

    assert list(compared_with(ast.parse(code), ("production",))) == []


@pytest.mark.parametrize(
    ("code", "reads"),
    [
        ("import os\nos.environ['A']", True),
        ("import os\nos.getenv('A')", True),
        ("from os import environ", True),
        ("def f(environ): return environ.get('A')", False),
    ],
)
def test_who_reads_the_environment_is_found(code: str, reads: bool) -> None:
    assert reads_environment(ast.parse(code)) is reads


def test_all_modules_of_the_release_are_looked_at() -> None:
    assert {"boot.py", "cli/main.py", "factors/harness/source_code.py"} <= {
        path.as_posix() for path in modules()
    }


@pytest.mark.parametrize(
    "requirement",
    ["typing_extensions>=4.15", "Typing.Extensions", "typing-extensions[all]; python_version<'4'"],
)
def test_a_requirement_is_compared_by_its_plain_name(requirement: str) -> None:
    assert _plain(requirement) == "typing-extensions"
