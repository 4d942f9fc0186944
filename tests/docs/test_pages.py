"""What the pages say is so, as far as it takes no server: links, Python, JSON, the reference.

`test_running.py` runs their commands.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages, without_blocks
from tests.docs.shell import matches
from tools.reference import PAGES, REFERENCE
from twelvefold import Principal, ToolRefused

LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+?) *$", re.MULTILINE)
WAYS = {"sh", "text", "python", "json"}
NOT_RUN = {
    "AGENTS.md": 1,
    "CONTRIBUTING.md": 3,
    "README.md": 5,
    "docs/howto/deploy.md": 6,
    "docs/howto/mail.md": 1,
    "docs/howto/release.md": 1,
    "docs/howto/serve.md": 3,
    "docs/howto/simulation.md": 2,
    "docs/twelve-factors.md": 1,
    "examples/retail/README.md": 2,
}
"""How many blocks of a page are not run, each for the reason behind its fence.

Pages that are written from the code are left out: what they quote, the tests of that code hold.
"""
WRITTEN = [REFERENCE / name for name in PAGES]
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_every_link_leads_to_a_page_and_its_heading(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_llms_txt_has_every_page_but_the_single_decisions() -> None:
    docs = ROOT / "docs"
    listed = {link for link, _ in LINK.findall((docs / "llms.txt").read_text())}
    single = {page for page in (docs / "decisions").glob("*.md") if page.name != "index.md"}
    home = docs / "index.md"

    written = set(docs.rglob("*.md")) - single - {home}

    assert listed == {str(page.relative_to(docs)) for page in written}


@each_page
def test_every_fence_is_closed_and_begins_its_line(page: Path) -> None:
    assert not re.search(r"^\s*```", without_blocks(page), re.MULTILINE)


@each_page
def test_every_block_is_run_compared_or_left_alone_for_a_reason(page: Path) -> None:
    assert [str(block) for block in blocks(page) if not has_a_way(block)] == []


def test_the_blocks_that_nobody_runs_are_these() -> None:
    left = Counter(
        str(block.page.relative_to(ROOT))
        for page in pages()
        for block in blocks(page)
        if block.reason is not None and page not in WRITTEN
    )

    assert left == NOT_RUN


@each_page
def test_what_is_shown_as_printed_follows_its_command(page: Path) -> None:
    run = [block for block in blocks(page) if block.reason is None]
    before = dict(zip(map(str, run[1:]), run, strict=False))

    for block in run:
        if block.language == "text" and not block.file:
            assert before[str(block)].language == "sh", block


@each_page
def test_every_python_block_runs(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python" and block.reason is None:
            exec(compile(block.text, str(block), "exec"), {"__name__": "page"})


@each_page
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json" and block.reason is None:
            json.loads(block.text)


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_says_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make reference`"


def test_what_was_printed_is_compared_line_by_line_but_for_the_dots() -> None:
    shown = "run: resp_…\n…\nover\n"

    assert matches(shown, "run: resp_01\nover\n")
    assert matches(shown, "run: resp_01\none\ntwo\nover\n")
    assert not matches(shown, "run: resp_01\nover\nmore\n")
    assert not matches(shown, "run: 01\nover\n")


async def test_a_full_course_of_the_gates_example_can_be_tried_again() -> None:
    class Full:
        async def execute(self, *_: object, **__: object) -> int:
            return 0

    page: dict[str, Any] = {}
    exec(python_of("docs/howto/tools.md", "enrol"), page)

    with pytest.raises(ToolRefused):
        await page["enrol"](Full(), Principal("ann"), "DB-101")


def test_the_readme_shows_the_workflow_that_the_examples_have() -> None:
    shown = python_of("README.md")
    kept = (ROOT / "examples" / "shopping.py").read_text()

    assert ast.dump(without_docstring(shown)) == ast.dump(without_docstring(kept))


def has_a_way(block: Block) -> bool:
    if block.reason is not None:
        return len(block.reason.split()) > 2
    return bool(block.file) or block.language in WAYS


def broken_links(page: Path) -> Iterator[str]:
    for link, anchor in LINK.findall(without_blocks(page)):
        target = page.parent / link if link else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as a forge and the site make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(without_blocks(page))
    }


def python_of(page: str, says: str = "") -> str:
    """The one Python block of a page that says so."""
    python = [block for block in blocks(ROOT / page) if block.language == "python"]
    (block,) = [block for block in python if says in block.text]
    return block.text


def without_docstring(code: str) -> ast.Module:
    module = ast.parse(code)
    return ast.Module(module.body[1:], [])
