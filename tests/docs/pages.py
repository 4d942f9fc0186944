"""The pages that people read, and the blocks of code on them with what is to be done with each.

A fence says it behind its language, where no reader sees it:

    ```sh                     run in the page's shell, in order; it must succeed
    ```text                   what the block before it prints, … for anything
    ```python                 run by itself
    ```python shopping.py     saved under that name, for the shell; so is any other language
    ```json                   parsed
    ```nginx not run: reason  left alone
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_PAGES = {ROOT / "STYLE.md"}  # its examples are pieces of code that stands elsewhere
FOLDERS = ("docs", "bench", "examples")
NOT_RUN = "not run:"
FENCE = re.compile(r"^(`{3,})([^\s`]*) *([^\n`]*)\n(.*?)^\1 *$", re.DOTALL | re.MULTILINE)
NAVIGATION = "{toctree}"


@dataclass(frozen=True)
class Block:
    """A fence of a page. `line` is where it begins."""

    page: Path
    line: int
    language: str
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why it is not run; None if it is."""
        return self.info.removeprefix(NOT_RUN).strip() if self.info.startswith(NOT_RUN) else None

    @property
    def file(self) -> str:
        """The name under which it is to be saved, if it is."""
        return self.info if self.reason is None else ""


def pages() -> list[Path]:
    """Every page, by its path."""
    found = {page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")}
    return sorted((found | set(ROOT.glob("*.md"))) - NOT_PAGES)


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in their order, navigation aside."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        _, language, info, code = found.groups()
        if language != NAVIGATION:
            yield Block(page, text.count("\n", 0, found.start()) + 1, language, info.strip(), code)


def without_blocks(page: Path) -> str:
    """What is left of a page's text for a reader of prose."""
    return FENCE.sub("", page.read_text())
