"""Names of packages."""

import importlib
import json
import pkgutil
import subprocess
import sys
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


def test_dir_has_the_public_names_of_each_package() -> None:
    """In a process of its own: a name that was used before is there anyway."""
    code = """
import importlib, json, sys
packages = [importlib.import_module(name) for name in sys.argv[1:]]
missing = {one.__name__: set(getattr(one, "__all__", ())) - set(dir(one)) for one in packages}
print(json.dumps({name: sorted(names) for name, names in missing.items() if names}))
"""

    done = subprocess.run(
        [sys.executable, "-c", code, *PACKAGES], check=True, capture_output=True, text=True
    )

    assert json.loads(done.stdout) == {}
