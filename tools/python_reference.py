"""Generates docs/reference/python/: a page for each public name, from its docstring and signature.

A docstring ends with a section `Example:`, a block of Python that runs by itself.
"""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, cached_property, partial
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, Unpack, get_args, get_origin

import twelvefold
from tools.markdown import code, fence, page, table
from twelvefold import testing

INDEX = """\
The public names, for authors of workflows and of programs that run them. The exceptions are public,
too: they are in the module `twelvefold.errors`, and [Errors](../errors.md) lists them. Everything
else may change with any release. Each page has an example that runs; `examples.shopping` is
`examples/shopping.py`.
"""
DIRECTORY = "python"
LINE = 88
EXAMPLE = re.compile(r"^Example:\n+((?:(?: {4}.*)?\n)*(?: {4}.*))", re.MULTILINE)
MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])")
OBJECT = re.compile(r"<(?:function |class '|bound method )?([\w.]+)[^>]*>")
"""A default value without a literal, such as a function."""
Page = Callable[[], str]
MODULES = [*twelvefold._MODULES.items(), *testing._MODULES.items()]
"""The module of each name."""


def python_pages() -> dict[str, Page]:
    """Return the pages by their path under docs/reference/."""
    pages: dict[str, Page] = {f"{DIRECTORY}/index.md": index}
    for module in (twelvefold, testing):
        for name in module.__all__:
            pages[f"{DIRECTORY}/{file_of(module, name)}"] = partial(one_name, module, name)
    return pages


def file_of(module: Any, name: str) -> str:
    """Return the file of a name; two names that differ in case only have different files."""
    lower = name.lower()
    is_second = lower in module.__all__ and name != lower
    folder = "testing/" if module is testing else ""
    return f"{folder}{lower}{'_class' if is_second else ''}.md"


def index() -> str:
    parts = []
    for module in (twelvefold, testing):
        rows = [
            (f"[{code(name)}]({file_of(module, name)})", first_sentence(getattr(module, name)))
            for name in module.__all__
        ]
        parts += [f"## {module.__name__}", table(("name", ""), rows)]
    tree = "```{toctree}\n:hidden:\n:glob:\n\n*\ntesting/*\n```"
    return page("Python", INDEX, *parts, tree)


def first_sentence(value: object) -> str:
    text = " ".join(own_doc(value).partition("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z`])", text)[0].rstrip(".:")


def one_name(module: Any, name: str) -> str:
    value = getattr(module, name)
    text, example = split_doc(value)
    parts = [f"{code(f'from {module.__name__} import {name}')}", text, *bases_of(module, value)]
    if shown := signature_of(name, value):
        parts.insert(1, fence(shown))
    if example:
        parts += ["## Example", f"```python\n{example}\n```"]
    if inspect.isclass(value):
        parts += members_of(value)
    for member in filter(inspect.isclass, map(plain_class, get_args(value))):
        parts += [f"## {member.__name__}", fence(signature_of(member.__name__, member))]
        parts += [own_doc(member)]
    return page(name, *parts)


def plain_class(member: Any) -> Any:
    """Return the class of a member of a union, without its type parameters."""
    return get_origin(member) or member


def split_doc(value: object) -> tuple[str, str]:
    """Return a docstring without its example, and the example."""
    doc = own_doc(value)
    found = EXAMPLE.search(doc)
    if found is None:
        return doc, ""
    return EXAMPLE.sub("", doc).strip(), formatted(textwrap.dedent(found[1]).strip())


@cache
def formatted(example: str) -> str:
    """Return an example as `make check` wants the Python of pages to be formatted."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "example.py", "-"]
    done = subprocess.run(command, input=example, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def own_doc(value: object) -> str:
    """Return the docstring that stands in the code of a name; "" if there is none."""
    if inspect.isclass(value):
        doc = inspect.cleandoc(vars(value).get("__doc__") or "")
        return "" if doc.startswith(f"{value.__name__}(") else doc  # made by dataclass
    if inspect.isroutine(value):
        return inspect.getdoc(value) or ""
    return inspect.cleandoc(getattr(value, "__dict__", {}).get("__doc__") or alias_doc(value))


def alias_doc(value: object) -> str:
    """Return the string that follows the assignment of a public alias in its module."""
    for module, names in MODULES:
        for name in names:
            if getattr(import_module(module), name) is value:
                source = inspect.getsource(import_module(module))
                return doc_after(ast.parse(source).body, name)
    return ""


def doc_after(statements: Sequence[ast.stmt], name: str) -> str:
    for one, following in pairwise(statements):
        is_it = isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name
        if is_it and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            return inspect.cleandoc(str(following.value.value))
    return ""


def bases_of(module: Any, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        return
    for base in value.__mro__[1:]:
        for other in (twelvefold, testing):
            if getattr(other, base.__name__, None) is base and base.__name__ in other.__all__:
                up = "../" if module is testing and other is twelvefold else ""
                link = f"[{code(base.__name__)}]({up}{file_of(other, base.__name__)})"
                yield f"It also has the methods of {link}."


def members_of(value: type) -> Iterator[str]:
    """Yield the public methods and properties of a class that it declares itself."""
    own = {one.name for one in fields(value)} if is_dataclass(value) else set()
    for name, member in vars(value).items():
        if name.startswith("_") or name in own:
            continue
        if isinstance(member, property | cached_property):
            yield f"## {name}"
            yield inspect.getdoc(member) or ""
        elif inspect.isfunction(member) or isinstance(member, classmethod | staticmethod):
            function = getattr(value, name)
            yield f"## {name}"
            yield fence(signature_of(name, function))
            yield split_doc(function)[0]


def signature_of(name: str, value: object) -> str:
    """Return a signature in the form of Python; "" for a protocol, which is not called."""
    if getattr(value, "_is_protocol", False):
        return ""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return ""  # an alias
    try:
        found = inspect.signature(value)
    except ValueError:  # an exception without a constructor of its own
        return ""
    parameters = [plain(one) for one in found.parameters.values() if one.name != "self"]
    keyword = "class " if inspect.isclass(value) else ""
    if inspect.iscoroutinefunction(value):
        keyword = "await "
    elif inspect.isasyncgenfunction(inspect.unwrap(value)):
        keyword = "async for … in " if inspect.isasyncgenfunction(value) else "async with "
    result = found.replace(
        parameters=parameters, return_annotation=as_text(found.return_annotation)
    )
    shown = f"{keyword}{name}{cleaned(str(result))}"
    return shown if len(shown) <= LINE else broken(f"{keyword}{name}", result)


def broken(head: str, found: inspect.Signature) -> str:
    """Return a long signature with a line for each parameter."""
    lines, is_keyword = [], False
    for one in found.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not is_keyword:
            lines.append("    *,")
            is_keyword = True
        is_keyword |= one.kind is one.VAR_POSITIONAL
        lines.append(f"    {cleaned(str(one))},")
    returned = cleaned(str(found.replace(parameters=[])).removeprefix("()"))
    return "\n".join([f"{head}(", *lines, f"){returned}"])


def plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter without the metadata of its annotation."""
    kind = parameter.annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Unpack:
        kind = f"Unpack[{get_args(kind)[0].__name__}]"  # its repr is `*` and the class
    return parameter.replace(annotation=as_text(kind))


class Text(str):
    """An annotation that is a text, printed without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def as_text(annotation: Any) -> Any:
    return Text(annotation) if isinstance(annotation, str) else annotation


def cleaned(text: str) -> str:
    """Return a signature without modules and addresses."""
    text = OBJECT.sub(lambda found: found[1].rpartition(".")[2], text)
    parts = re.split(r"('[^']*')", text)
    return "".join(f'"{one[1:-1]}"' if one[:1] == "'" else MODULE.sub("", one) for one in parts)
