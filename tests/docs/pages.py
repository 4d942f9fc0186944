"""The documentation's pages, and their code blocks with the way each is tested.

The way is written behind the language of the fence, where a rendered page does not show it:

    ```sh                     run in the page's shell, in order; it must succeed
    ```text                   the output of the block before it; … matches any text
    ```python                 run by itself
    ```python shopping.py     saved under that name, for the shell; also for other languages
    ```json                   parsed
    ```nginx not run: reason  not run
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_PAGES = {ROOT / "STYLE.md"}  # its examples are pieces of other code
FOLDERS = ("docs", "bench", "examples")
NOT_RUN = "not run:"
FENCE = re.compile(r"^(`{3,})([^\s`]*) *([^\n`]*)\n(.*?)^\1 *$", re.DOTALL | re.MULTILINE)
NAVIGATION = "{toctree}"


@dataclass(frozen=True)
class Block:
    """A code block. `line` is the line of its first fence."""

    page: Path
    line: int
    language: str
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Why the block is not run; None if it is run."""
        return self.info.removeprefix(NOT_RUN).strip() if self.info.startswith(NOT_RUN) else None

    @property
    def file(self) -> str:
        """The name under which the block is saved; "" if it is not."""
        return self.info if self.reason is None else ""


def pages() -> list[Path]:
    """Every page, sorted by path."""
    found = {page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")}
    return sorted((found | set(ROOT.glob("*.md"))) - NOT_PAGES)


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in their order, without navigation."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        _, language, info, code = found.groups()
        if language != NAVIGATION:
            yield Block(page, text.count("\n", 0, found.start()) + 1, language, info.strip(), code)


def without_blocks(page: Path) -> str:
    """The text of a page without its blocks."""
    return FENCE.sub("", page.read_text())
