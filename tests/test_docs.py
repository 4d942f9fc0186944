"""What the pages say is so: their links lead somewhere, and their Python runs."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twelvefold import Principal, ToolRefused

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
NO_CLIENTS = ("openresponses-types", "zod")
"""What the clients' environments have beside them: types to check by or to describe tools."""
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_runs(page: Path) -> None:
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), {"__name__": "page"})


async def test_a_full_course_of_the_gates_example_can_be_tried_again() -> None:
    class Full:
        async def execute(self, *_: object, **__: object) -> int:
            return 0

    (gates,) = PYTHON.findall((ROOT / "docs" / "howto" / "tools.md").read_text())
    page: dict[str, Any] = {}
    exec(gates, page)

    with pytest.raises(ToolRefused):
        await page["enrol"](Full(), Principal("ann"), "DB-101")


def test_the_readme_shows_the_workflow_that_the_examples_have() -> None:
    (shown,) = PYTHON.findall((ROOT / "README.md").read_text())
    kept = (ROOT / "examples" / "shopping.py").read_text()

    assert ast.dump(_without_docstring(shown)) == ast.dump(_without_docstring(kept))


def test_the_clients_of_the_guide_are_those_that_are_tried() -> None:
    guide = (ROOT / "docs" / "howto" / "serve.md").read_text()
    row = re.compile(r"^\| `([^`]+)` \| (Python|Node) \| (\S+) \|", re.MULTILINE)

    assert sorted(row.findall(guide)) == sorted([*_tried_of_python(), *_tried_of_node()])


def _tried_of_python() -> Iterator[tuple[str, str, str]]:
    for asked in (ROOT / "tests" / "conformance").glob("*/requirements.in"):
        lock = asked.with_suffix(".txt").read_text()
        for name in re.findall(r"^[a-z-]+", asked.read_text(), re.MULTILINE):
            (version,) = re.findall(rf"^{name}==(\S+)", lock, re.MULTILINE)
            if name not in NO_CLIENTS:
                yield name, "Python", version


def _tried_of_node() -> Iterator[tuple[str, str, str]]:
    package = json.loads((ROOT / "tests/conformance/node/package.json").read_text())
    for name, version in package["dependencies"].items():
        if name not in NO_CLIENTS:
            yield name, "Node", version


def _without_docstring(code: str) -> ast.Module:
    module = ast.parse(code)
    return ast.Module(module.body[1:], [])
