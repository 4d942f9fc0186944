"""Opening and closing apps: nothing is left behind, and several are open at once."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.app.shop import Blocking, OpenApp, scripted, shop, shop_settings
from twelvefold import App, Resource, Workflow, tool
from twelvefold.app.task_context import TaskContext
from twelvefold.errors import AppClosed, RequestError
from twelvefold.services.model.scripted import calls, says


async def test_apps_open_one_new_file_at_once(tmp_path: Path) -> None:
    apps = [App([shop], settings=shop_settings(tmp_path), model=scripted()) for _ in range(3)]

    await asyncio.gather(*(app.open() for app in apps))

    run = await apps[0].start(shop, "bread")
    assert await apps[2].get(run.id) == run
    await asyncio.gather(*(app.close() for app in apps))


async def test_an_app_leaves_no_task_and_no_thread(tmp_path: Path) -> None:
    app = App([shop], settings=shop_settings(tmp_path), model=scripted(says("Hello.")))
    app.asgi()
    before = asyncio.all_tasks(), ours()

    async with app:
        await app.run(shop, "hi")
        assert asyncio.all_tasks() > before[0]

    assert asyncio.all_tasks() == before[0]
    while not ours() <= before[1]:  # a thread of SQLite ends soon after its last work
        await asyncio.sleep(0.01)


def ours() -> set[str]:
    """The names of the threads that are not those of asyncio's own pool."""
    return {one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")}


async def test_opening_in_one_task_and_closing_in_another(tmp_path: Path) -> None:
    """As the cells of a notebook do; the resource belongs to the task that has opened it."""

    @asynccontextmanager
    async def open_group() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as group:
            yield group

    @tool(effect="pure")
    async def count(group: Resource[asyncio.TaskGroup]) -> str:
        """Count in a task."""
        return await group.create_task(asyncio.sleep(0, "one"))

    counting = Workflow("counting", "Count.", (count,), resources=open_group)
    model = scripted(calls(("count", {})), says("One."))
    app = App([counting], settings=shop_settings(tmp_path), model=model)

    loop = asyncio.get_running_loop()
    await loop.create_task(app.open())
    run = await loop.create_task(app.run(counting, "count"))
    await loop.create_task(app.close())

    assert [call.result for call in run.calls] == ["one"]


async def test_a_call_from_another_event_loop_is_an_error(open_app: OpenApp) -> None:
    app = await open_app()

    def call() -> None:
        asyncio.run(app.get("resp_1"))

    with pytest.raises(AppClosed, match="another event loop"):
        await asyncio.to_thread(call)


async def test_closing_while_the_app_opens() -> None:
    left = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
        finally:
            left.append("cancelled")
        yield

    context = TaskContext(slow(), name="slow")
    opening = asyncio.get_running_loop().create_task(context.value())
    await asyncio.sleep(0)
    await context.close()

    with pytest.raises(AppClosed):
        await opening
    assert left == ["cancelled"]


async def test_an_error_of_closing_is_raised() -> None:
    @asynccontextmanager
    async def fails() -> AsyncIterator[int]:
        yield 7
        raise RequestError("cannot close")

    context = TaskContext(fails(), name="fails")

    assert await context.value() == 7
    with pytest.raises(RequestError, match="cannot close"):
        await context.close()


def test_importing_app_imports_neither_the_service_nor_the_worker() -> None:
    code = """
import sys
from twelvefold import App, SyncApp
App()
heavy = ("starlette", "uvicorn", "pydantic", "sqlalchemy", "twelvefold.worker", "twelvefold.web")
print([name for name in heavy if name in sys.modules])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


async def test_closing_an_app_while_it_opens(tmp_path: Path) -> None:
    app = App([shop], settings=shop_settings(tmp_path), model=scripted())
    opening = asyncio.get_running_loop().create_task(app.open())
    await asyncio.sleep(0)

    await app.close()

    with pytest.raises(AppClosed, match="closed before it was open"):
        await opening
    async with app:
        assert app.session


async def test_an_error_of_the_service_does_not_keep_the_calls_from_their_end(
    tmp_path: Path,
) -> None:
    @asynccontextmanager
    async def fails() -> AsyncIterator[Any]:
        yield None
        raise RequestError("cannot close")

    model = Blocking()
    app = await App([shop], settings=shop_settings(tmp_path), model=model).open()
    service = TaskContext(fails(), name="service")
    await service.value()
    app.session._service.append(service)
    running = asyncio.get_running_loop().create_task(app.run(shop, "hi"))
    await model.is_asked.wait()

    with pytest.raises(RequestError, match="cannot close"):
        await app.close()

    assert running.done()
    with pytest.raises(AppClosed, match="given back"):
        await running
