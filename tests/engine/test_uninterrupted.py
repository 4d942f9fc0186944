import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from twelvefold.engine.uninterrupted import ExitLimit, run_uninterrupted
from twelvefold.errors import StaleRun


@asynccontextmanager
async def cancelled_amid(work: asyncio.Task[object], *, times: int = 1) -> AsyncIterator[None]:
    """Cancel the task while it works; the body runs after that."""
    await asyncio.sleep(0)
    for _ in range(times):
        work.cancel()
        await asyncio.sleep(0)
    yield
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_uninterrupted_work_returns_its_result_or_raises_its_error() -> None:
    async def fail() -> None:
        raise StaleRun("moved on")

    assert await run_uninterrupted(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(StaleRun, match="moved on"):
        await run_uninterrupted(fail())


@pytest.mark.parametrize("times", [1, 3])
async def test_uninterrupted_work_is_finished_however_often_it_is_cancelled(times: int) -> None:
    go_on, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    async with cancelled_amid(asyncio.ensure_future(run_uninterrupted(work())), times=times):
        assert not done.is_set()
        go_on.set()

    assert done.is_set()


async def test_an_error_after_the_cancellation_is_logged_by_its_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = asyncio.Event()

    async def fail() -> None:
        await go_on.wait()
        raise ValueError("a secret")

    async with cancelled_amid(asyncio.ensure_future(run_uninterrupted(fail()))):
        go_on.set()

    (line,) = caplog.records
    assert (line.message, vars(line)["fields"]) == ("step_abandoned", {"error": "ValueError"})


async def test_work_that_raises_cancelled_error_cancels_its_caller() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_uninterrupted(give_up())


async def test_a_process_that_stops_abandons_work_whose_caller_was_cancelled() -> None:
    limit, hangs = ExitLimit(release_s=0.01), asyncio.get_running_loop().create_future()
    caller = asyncio.ensure_future(run_uninterrupted(asyncio.wait([hangs]), limit))

    async with cancelled_amid(caller):
        await asyncio.sleep(0.02)
        assert not caller.done()
        limit.begin(0)

    assert limit.has_passed
    assert not hangs.done()


async def test_work_that_is_cancelled_after_the_limit_is_abandoned_at_once() -> None:
    limit = ExitLimit(release_s=0)
    limit.begin(0)
    caller = asyncio.ensure_future(run_uninterrupted(asyncio.Event().wait(), limit))

    async with cancelled_amid(caller):
        pass


async def test_the_limit_does_not_end_work_that_was_not_cancelled() -> None:
    limit = ExitLimit(release_s=0)
    limit.begin(0)

    assert await run_uninterrupted(asyncio.sleep(0.02, "done"), limit) == "done"


async def test_only_the_first_begin_counts() -> None:
    limit = ExitLimit(release_s=0)
    before = limit.left_s
    limit.begin(0)
    limit.begin(60)

    assert before > 60
    assert limit.left_s == 0
