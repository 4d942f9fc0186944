"""The built-in workflow uses only the public API, as a user's own workflow would."""

import ast
from pathlib import Path

import twelvefold
from twelvefold.workflows import enrolment

FILES = sorted(Path(enrolment.__path__[0]).glob("*.py"))


def imported(file: Path) -> list[tuple[str, list[str]]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    plain = [
        one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
    ]
    return [(name, []) for name in plain] + [
        (node.module or "", [one.name for one in node.names])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    ]


def test_it_imports_only_public_names() -> None:
    ours = [one for file in FILES for one in imported(file) if one[0].split(".")[0] == "twelvefold"]
    others = [one for one in ours if not one[0].startswith("twelvefold.workflows.enrolment")]

    assert others
    assert {module for module, _ in others} == {"twelvefold"}
    assert {name for _, names in others for name in names} <= set(twelvefold.__all__)
