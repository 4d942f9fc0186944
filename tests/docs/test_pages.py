"""Links, Python, JSON and the generated reference of every page; these tests need no server.

`test_running.py` runs their commands.
"""

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import twelvefold
from tests.docs.pages import ROOT, Block, blocks, pages, without_blocks
from tests.docs.shell import matches
from tools.python_reference import split_doc
from tools.reference import PAGES, REFERENCE
from twelvefold import Principal, ToolRefused, testing

LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+?) *$", re.MULTILINE)
WAYS = {"sh", "text", "python", "json"}
NOT_RUN = {
    "AGENTS.md": 1,
    "CONTRIBUTING.md": 3,
    "README.md": 5,
    "docs/failures.md": 1,
    "docs/howto/app.md": 3,
    "docs/howto/broker.md": 2,
    "docs/howto/celery.md": 2,
    "docs/howto/deploy.md": 8,
    "docs/howto/from-a-loop.md": 1,
    "docs/howto/from-langgraph.md": 1,
    "docs/howto/from-openai-agents.md": 1,
    "docs/howto/high-availability.md": 2,
    "docs/howto/kubernetes.md": 5,
    "docs/howto/mail.md": 1,
    "docs/howto/metrics.md": 3,
    "docs/howto/queries.md": 9,
    "docs/howto/release.md": 2,
    "docs/howto/serve.md": 3,
    "docs/howto/simulation.md": 2,
    "docs/howto/testing.md": 2,
    "docs/howto/traces.md": 1,
    "docs/howto/waiting.md": 1,
    "docs/twelve-factors.md": 1,
    "examples/retail/README.md": 2,
}
"""The number of blocks of a page that are not run, each for the reason behind its fence.

Generated pages are left out: the tests of the code cover what they quote.
"""
PUBLIC = [f"{one.__name__}.{name}" for one in (twelvefold, testing) for name in one.__all__]
GENERATED = [REFERENCE / name for name in PAGES]
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_every_link_leads_to_a_page_and_its_heading(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_llms_txt_has_every_page_but_single_decisions_and_names() -> None:
    docs = ROOT / "docs"
    listed = {link for link, _ in LINK.findall((docs / "llms.txt").read_text())}
    lists = (docs / "decisions", docs / "reference" / "python")
    single = {page for list in lists for page in list.rglob("*.md") if page.name != "index.md"}
    home = docs / "index.md"

    written = set(docs.rglob("*.md")) - single - {home}

    assert listed == {str(page.relative_to(docs)) for page in written}


@each_page
def test_every_fence_is_closed_and_begins_its_line(page: Path) -> None:
    assert not re.search(r"^\s*```", without_blocks(page), re.MULTILINE)


@each_page
def test_every_block_is_run_or_compared_or_has_a_reason(page: Path) -> None:
    assert [str(block) for block in blocks(page) if not has_a_way(block)] == []


def test_the_number_of_blocks_that_are_not_run_is_known() -> None:
    left = Counter(
        str(block.page.relative_to(ROOT))
        for page in pages()
        for block in blocks(page)
        if block.reason is not None and page not in GENERATED
    )

    assert left == NOT_RUN


@each_page
def test_output_follows_its_command(page: Path) -> None:
    run = [block for block in blocks(page) if block.reason is None]
    before = dict(zip(map(str, run[1:]), run, strict=False))

    for block in run:
        if block.language == "text" and not block.file:
            assert before[str(block)].language == "sh", block


@each_page
def test_every_python_block_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # a block may import another one of its page
    monkeypatch.chdir(tmp_path)  # a block may open an embedded database
    saved = {block.file: block.text for block in blocks(page) if block.file.endswith(".py")}
    for file, text in saved.items():
        (tmp_path / file).write_text(text)
        monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    for block in blocks(page):
        if block.language == "python" and block.reason is None:
            exec(compile(block.text, str(block), "exec"), {"__name__": "page"})
    for file in saved:
        sys.modules.pop(file.removesuffix(".py"), None)


@each_page
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json" and block.reason is None:
            json.loads(block.text)


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make reference`"


def test_the_signatures_of_the_python_reference_are_python() -> None:
    signatures = [
        block.text
        for name in PAGES
        if name.startswith("python/")
        for block in blocks(REFERENCE / name)
        if block.language == "text"
    ]

    assert len(signatures) > 50
    assert [text for text in signatures if not is_signature(text)] == []


def is_signature(text: str) -> bool:
    """Return whether a name with `class`, `await` and the like has parameters of Python."""
    _, bracket, parameters = text.strip().partition("(")
    try:
        ast.parse(f"def name{bracket}{parameters}: ...")
    except SyntaxError:
        return False
    return True


def test_the_reference_has_no_page_of_a_name_that_is_gone() -> None:
    written = {str(page.relative_to(REFERENCE)) for page in REFERENCE.glob("python/**/*.md")}

    assert written == {name for name in PAGES if name.startswith("python/")}


@pytest.mark.parametrize("path", PUBLIC)
def test_a_public_name_has_a_docstring_with_an_example(path: str) -> None:
    module, _, name = path.rpartition(".")
    text, example = split_doc(getattr(import_module(module), name))

    assert text, f"{name} has no docstring"
    assert example, f"the docstring of {name} has no section `Example:`"
    assert "import" in example, f"the example of {name} runs by itself"


def test_output_is_compared_line_by_line_except_for_ellipses() -> None:
    shown = "run: resp_…\n…\nover\n"

    assert matches(shown, "run: resp_01\nover\n")
    assert matches(shown, "run: resp_01\none\ntwo\nover\n")
    assert not matches(shown, "run: resp_01\nover\nmore\n")
    assert not matches(shown, "run: 01\nover\n")


@pytest.mark.parametrize("page", ["AGENTS.md", "CONTRIBUTING.md"])
def test_the_layers_of_a_page_are_those_of_the_import_contract(page: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]

    words = " ".join((ROOT / page).read_text().split())

    assert " → ".join(f"`{layer}`" for layer in layers) in words


async def test_a_full_course_of_the_gates_example_can_be_tried_again() -> None:
    class Full:
        async def execute(self, *_: object, **__: object) -> int:
            return 0

    page: dict[str, Any] = {}
    exec(python_of("docs/howto/tools.md", "enrol"), page)

    with pytest.raises(ToolRefused):
        await page["enrol"](Full(), Principal("ann"), "DB-101")


def test_the_workflow_of_the_readme_is_that_of_the_examples() -> None:
    shown = python_of("README.md", "@tool")
    kept = (ROOT / "examples" / "shopping.py").read_text()

    assert ast.dump(without_docstring(shown)) == ast.dump(without_docstring(kept))


def test_the_code_of_the_support_desks_page_is_that_of_the_example() -> None:
    page = ROOT / "docs" / "howto" / "support-desk.md"
    example = [*(ROOT / "examples" / "support").glob("*.py")]
    example.append(ROOT / "tests" / "examples" / "test_support.py")
    kept = {one for file in example for one in definitions(file.read_text())}

    shown = [block for block in blocks(page) if block.language == "python"]
    pieces = [one for block in shown for one in definitions(block.text)]

    assert len(pieces) > 10
    assert [one for one in pieces if one not in kept] == []


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
    """The anchors of a page's headings, as a forge and the site generate them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(without_blocks(page))
    }


def python_of(page: str, containing: str = "") -> str:
    """The one Python block of a page that contains this text."""
    python = [block for block in blocks(ROOT / page) if block.language == "python"]
    (block,) = [block for block in python if containing in block.text]
    return block.text


def definitions(code: str) -> list[str]:
    """The functions and classes at the top of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [ast.dump(node) for node in ast.parse(code).body if isinstance(node, kinds)]


def without_docstring(code: str) -> ast.Module:
    module = ast.parse(code)
    return ast.Module(module.body[1:], [])
