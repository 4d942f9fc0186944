"""The files of the release as they are installed, and what their code says."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

import twelvefold

HOME = Path(twelvefold.__file__).parent
_ONE_PARSES = Lock()


def modules() -> dict[Path, ast.Module]:
    """Every module of the release, parsed; each path is below the package's folder.

    It takes a second of CPU, once: ask for it in a thread.
    """
    with _ONE_PARSES:
        return _parsed()


@cache
def _parsed() -> dict[Path, ast.Module]:
    found = sorted(HOME.rglob("*.py"))
    return {path.relative_to(HOME): ast.parse(path.read_bytes(), str(path)) for path in found}


def imports(module: ast.Module) -> Iterator[str]:
    """The top names of what a module imports when it runs, inside functions too.

    What only a type checker imports is left aside.
    """
    for node in _run(module):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.partition(".")[0]
            case ast.Call(args=[ast.Constant(value=str(name)), *_], func=called):
                if "import_module" in ast.unparse(called):
                    yield name.partition(".")[0]


def _run(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for one in child.orelse:
                yield one
                yield from _run(one)
            continue
        yield child
        yield from _run(child)


def compared_with(module: ast.Module, words: Sequence[str]) -> Iterator[str]:
    """Which of these words the code compares something with, matches or looks up."""
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
        constants = (one for side in sides for one in ast.walk(side))
        for one in constants:
            if isinstance(one, ast.Constant) and str(one.value).lower() in words:
                yield str(one.value)


def reads_environment(module: ast.Module) -> bool:
    """Whether the code asks for the process's environment."""
    asked = {"environ", "environb", "getenv"}
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in asked:
                return True
            case ast.ImportFrom(module="os", names=names) if asked & {one.name for one in names}:
                return True
    return False
