"""The pytest plugin: fixtures for workflows. It imports nothing else until a test uses one.

Override `twelvefold_workflows` to name your workflows, and `twelvefold_options` for options of
`TestApp`. Test functions may be plain or `async`; no other plugin is needed.
"""

import asyncio
import functools
import inspect
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from twelvefold import Workflow
    from twelvefold.testing import SyncTestApp, TestApp

ASYNC_APP = "twelvefold_async_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("twelvefold")
    group.addoption(
        "--twelvefold-database",
        metavar="URL",
        default="",
        help="server on which the tests create their databases; `env`: that of DATABASE_URL; "
        "default: SQLite files",
    )


@pytest.fixture
def twelvefold_workflows() -> "list[Workflow[Any]]":
    """The workflows of the app: override it in your conftest.py."""
    raise pytest.UsageError(
        "override the fixture `twelvefold_workflows` in conftest.py: it returns your workflows"
    )


@pytest.fixture
def twelvefold_options() -> dict[str, Any]:
    """Further options of `TestApp`: override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def twelvefold_server(pytestconfig: pytest.Config) -> str:
    """The URL of the server on which databases are created; "" for SQLite files."""
    given = str(pytestconfig.getoption("--twelvefold-database"))
    if given != "env":
        return given
    from twelvefold.boot import read_environment

    return read_environment().get("DATABASE_URL", "")


@pytest.fixture
def twelvefold_app(
    twelvefold_workflows: "list[Workflow[Any]]", twelvefold_server: str, twelvefold_options: Any
) -> "Iterator[SyncTestApp]":
    """An app for plain test functions, on a database of its own."""
    from twelvefold.testing import SyncTestApp

    options = {"database": twelvefold_server, **twelvefold_options}
    with SyncTestApp(twelvefold_workflows, **options) as app:
        yield app


@pytest.fixture
def twelvefold_async_app(
    twelvefold_workflows: "list[Workflow[Any]]", twelvefold_server: str, twelvefold_options: Any
) -> "TestApp":
    """An app for `async` test functions, on a database of its own; open during the test."""
    from twelvefold.testing import TestApp

    return TestApp(twelvefold_workflows, **{"database": twelvefold_server, **twelvefold_options})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Open the async app in the loop of the test, whichever plugin runs that."""
    if isinstance(item, pytest.Function) and ASYNC_APP in item.fixturenames:
        if not inspect.iscoroutinefunction(item.obj):
            raise pytest.UsageError(f"{ASYNC_APP} is for `async def` tests; use twelvefold_app")
        item.obj = _within_app(item.obj, item.funcargs[ASYNC_APP])
    return (yield)


def _within_app(test: Any, app: Any) -> Any:
    @functools.wraps(test)
    async def opened(**arguments: Any) -> None:
        async with app:
            await test(**arguments)

    return opened


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that uses the async app, if no other plugin does."""
    if ASYNC_APP not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
