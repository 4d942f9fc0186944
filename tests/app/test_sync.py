"""SyncApp: in scripts, in several threads, in a running event loop and after a fork."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.app.shop import BUY, REFUND, Blocking, scripted, shop, shop_settings
from twelvefold import SyncApp
from twelvefold.core import Model
from twelvefold.errors import AppClosed, NotFound, SettingsError, WorkflowError
from twelvefold.services.model.scripted import says


def open_app(directory: Path, model: Model) -> SyncApp:
    return SyncApp([shop], settings=shop_settings(directory), model=model)


def test_a_run_is_driven_read_and_continued(tmp_path: Path) -> None:
    with open_app(tmp_path, scripted(BUY, REFUND, says("Refunded."))) as app:
        waiting = app.run(shop, "bread, and refund it", principal="ann")
        assert app.get(waiting.id, principal="ann") == waiting
        app.approve(waiting.id, by="boss")
        run = app.resume(waiting.id)

        assert (run.status, run.text) == ("completed", "Refunded.")
        with pytest.raises(NotFound):
            app.settle(run.id, "done", principal="bob")


def test_a_started_run_is_cancelled(tmp_path: Path) -> None:
    with open_app(tmp_path, scripted()) as app:
        started = app.start(shop, "bread")

        assert app.cancel(started.id).status == "cancelled"


def test_a_stream_is_an_iterator(tmp_path: Path) -> None:
    with open_app(tmp_path, scripted(says("Hello."))) as app:
        kinds = [event.kind for event in app.stream(shop, "hi")]

    assert kinds == ["started", "text", "finished"]


def test_leaving_a_stream_gives_the_run_back(tmp_path: Path) -> None:
    model = Blocking()
    with open_app(tmp_path, model) as app:
        for event in app.stream(shop, "hi"):
            if event.kind == "started":
                id = event.id
            if event.kind == "text":
                break

        assert app.get(id).status == "queued"


def test_several_threads_share_an_app(tmp_path: Path) -> None:
    app = open_app(tmp_path, scripted(*[says("Hello.")] * 8))

    with app, ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: app.run(shop, "hi"), range(8)))

    assert {run.text for run in runs} == {"Hello."}
    assert len({run.id for run in runs}) == 8


async def test_it_works_where_an_event_loop_runs_as_in_a_notebook(tmp_path: Path) -> None:
    with open_app(tmp_path, scripted(says("Hello."))) as app:
        assert app.run(shop, "hi").text == "Hello."


def test_a_closed_app_has_no_thread_and_raises(tmp_path: Path) -> None:
    app = open_app(tmp_path, scripted(says("Hello.")))
    assert app.run(shop, "hi").text == "Hello."

    app.close()

    assert "twelvefold" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(AppClosed):
        app.run(shop, "hi")


def test_closing_ends_the_calls_of_other_threads(tmp_path: Path) -> None:
    model = Blocking()
    app = open_app(tmp_path, model).open()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(app.run, shop, "hi")
        wait_until(model.is_asked.is_set)
        app.close()

        with pytest.raises(AppClosed, match="given back"):
            running.result()


def test_ctrl_c_gives_the_run_back(tmp_path: Path) -> None:
    model = Blocking()
    with open_app(tmp_path, model) as app:
        interrupting = threading.Thread(target=interrupt_when, args=(model.is_asked,))
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            app.run(shop, "hi", key="k")
        interrupting.join()

        id = app.start(shop, "hi", key="k").id
        wait_until(lambda: app.get(id).status == "queued")


def interrupt_when(event: asyncio.Event) -> None:
    wait_until(event.is_set)
    os.kill(os.getpid(), signal.SIGINT)


def test_settings_that_do_not_fit_are_raised_by_each_call(tmp_path: Path) -> None:
    app = open_app(tmp_path / "missing", scripted())

    for _ in range(2):
        with pytest.raises(SettingsError, match="does not exist"):
            app.run(shop, "hi")
    app.close()


def test_two_workflows_of_one_name_are_an_error() -> None:
    with pytest.raises(WorkflowError):
        SyncApp([shop, shop])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_opens_services_of_its_own(tmp_path: Path) -> None:
    app = open_app(tmp_path, scripted(says("Hello.")))
    run = app.run(shop, "hi")

    child = os.fork()
    if child == 0:  # pragma: no cover - the other process
        same = app.get(run.id).text == run.text
        app.close()
        os._exit(0 if same else 1)

    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert app.get(run.id) == run
    app.close()


def wait_until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        time.sleep(0.01)


def test_ctrl_c_ends_a_stream(tmp_path: Path) -> None:
    model = Blocking()
    with open_app(tmp_path, model) as app:
        interrupting = threading.Thread(target=interrupt_when, args=(model.is_asked,))
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            list(app.stream(shop, "hi", key="k"))
        interrupting.join()

        id = app.start(shop, "hi", key="k").id
        wait_until(lambda: app.get(id).status == "queued")
