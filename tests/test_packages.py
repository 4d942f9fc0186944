"""Names of packages."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import twelvefold

PACKAGES = sorted(
    path.parent.relative_to(Path(twelvefold.__file__).parents[1]).as_posix().replace("/", ".")
    for path in Path(twelvefold.__file__).parent.rglob("__init__.py")
)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_package_lists_a_name_of_one_of_its_modules(name: str) -> None:
    """`from package import name` would return either, by the order of the imports."""
    package = importlib.import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}

    assert modules.isdisjoint(getattr(package, "__all__", ()))
