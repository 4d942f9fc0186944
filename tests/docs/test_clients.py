"""The clients that the guide names are those that `make conformance` tries."""

import json
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

NO_CLIENTS = ("openresponses-types", "zod")
"""What the clients' environments have beside them: types to check by or to describe tools."""


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
