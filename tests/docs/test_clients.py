"""The clients in the guide are those that `make conformance` tests."""

import json
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

NO_CLIENTS = ("openresponses-types", "zod")
"""Other packages in the clients' environments: types to check by, or to describe tools."""


def test_the_guide_lists_the_tested_clients() -> None:
    guide = (ROOT / "docs" / "howto" / "serve.md").read_text()
    row = re.compile(r"^\| `([^`]+)` \| (Python|Node) \| (\S+) \|", re.MULTILINE)

    assert sorted(row.findall(guide)) == sorted([*_tested_in_python(), *_tested_in_node()])


def _tested_in_python() -> Iterator[tuple[str, str, str]]:
    for requirements in (ROOT / "tests" / "conformance").glob("*/requirements.in"):
        lock = requirements.with_suffix(".txt").read_text()
        for name in re.findall(r"^[a-z-]+", requirements.read_text(), re.MULTILINE):
            (version,) = re.findall(rf"^{name}==(\S+)", lock, re.MULTILINE)
            if name not in NO_CLIENTS:
                yield name, "Python", version


def _tested_in_node() -> Iterator[tuple[str, str, str]]:
    package = json.loads((ROOT / "tests/conformance/node/package.json").read_text())
    for name, version in package["dependencies"].items():
        if name not in NO_CLIENTS:
            yield name, "Node", version
