"""Analyses the installed source code of the release."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

import twelvefold

PACKAGE_DIRECTORY = Path(twelvefold.__file__).parent
_ENVIRONMENT = {"environ", "environb", "getenv"}
_parse_lock = Lock()


def parse_modules() -> dict[Path, ast.Module]:
    """Return every module by its path in the package.

    The first call takes a second of CPU: run it in a thread.
    """
    with _parse_lock:
        return _parse_modules()


@cache
def _parse_modules() -> dict[Path, ast.Module]:
    paths = sorted(PACKAGE_DIRECTORY.rglob("*.py"))
    return {
        path.relative_to(PACKAGE_DIRECTORY): ast.parse(path.read_bytes(), str(path))
        for path in paths
    }


def imported_packages(module: ast.Module) -> Iterator[str]:
    """Yield the top-level names of all imports at run time, including those inside functions.

    Imports under `if TYPE_CHECKING` are left out.
    """
    for node in _runtime_nodes(module):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.partition(".")[0]
            case ast.Call(args=[ast.Constant(value=str(name)), *_], func=function):
                if "import_module" in ast.unparse(function):
                    yield name.partition(".")[0]


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for otherwise in child.orelse:
                yield otherwise
                yield from _runtime_nodes(otherwise)
            continue
        yield child
        yield from _runtime_nodes(child)


def compared_constants(module: ast.Module, words: Sequence[str]) -> Iterator[str]:
    """Yield the words that the code uses in comparisons, `case` patterns or dictionary keys."""
    for node in ast.walk(module):
        match node:
            case ast.Compare(left=left, comparators=others):
                sides: list[ast.AST] = [left, *others]
            case ast.MatchValue(value=value):
                sides = [value]
            case ast.Dict(keys=keys):
                sides = [key for key in keys if key is not None]
            case _:
                continue
        for constant in (found for side in sides for found in ast.walk(side)):
            if isinstance(constant, ast.Constant) and str(constant.value).lower() in words:
                yield str(constant.value)


def reads_environment(module: ast.Module) -> bool:
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in _ENVIRONMENT:
                return True
            case ast.ImportFrom(module="os", names=names):
                if _ENVIRONMENT & {name.name for name in names}:
                    return True
    return False
