"""A run that did not complete is run again with the same input."""

import pytest
from msgspec import structs

from tests.builders import asked, user
from tests.engine.stage import Stage, resume, start
from twelvefold.boot import RandomIds
from twelvefold.core.events import DEFAULT_OPTIONS, RunStarted
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import NewRun, NullListener
from twelvefold.engine.commands import cancel
from twelvefold.engine.commands.retry_run import retry_run
from twelvefold.engine.drive import drive
from twelvefold.engine.lease import new_lease_token
from twelvefold.errors import Conflict, NotFound, RequestError, TooLate
from twelvefold.services.model.scripted import says

PARENT = f"resp_{'a' * 44}1"
OPTIONS = structs.replace(DEFAULT_OPTIONS, instructions="Be brief.", stream=True)


async def test_the_new_run_has_the_input_and_the_options(stage: Stage) -> None:
    services = stage.process(says("yes"))
    held = await start(services, "a lamp", options=OPTIONS)
    await cancel(services, held.run)

    new = await retry_run(services, held.run)

    assert new == RunId(held.run.thread, 2)
    started = [e for e in await stage.journal(new) if isinstance(e, RunStarted)][-1]
    assert (started.items, started.principal) == ((user("a lamp"),), "ann")
    assert started.options == structs.replace(OPTIONS, stream=False)
    assert (await resume(services, new)).status == "completed"


async def test_a_run_that_is_not_over_or_completed_or_not_the_last_is_refused(
    stage: Stage,
) -> None:
    services = stage.process(says("yes"))
    held = await start(services)
    with pytest.raises(Conflict, match="is not over"):
        await retry_run(services, held.run)
    await drive(services, held, NullListener())
    with pytest.raises(TooLate, match="has completed, so there is nothing to retry"):
        await retry_run(services, held.run)
    later = await start(services, thread=held.run.thread)
    await cancel(services, later.run)
    await start(services, thread=held.run.thread)
    with pytest.raises(TooLate, match="is not the last one"):
        await retry_run(services, later.run)


async def test_a_run_that_another_one_started_is_refused(stage: Stage) -> None:
    services = stage.process()
    child = RunId(RandomIds().thread(), 1)
    started = structs.replace(asked(), parent=PARENT, parent_call="2.0")
    new = NewRun(child, new_lease_token(), 0, "ann", "shop", "1.0", background=True)
    await services.store.start(new, started, None)
    await cancel(services, child)

    with pytest.raises(RequestError, match=f"was started by run {PARENT}"):
        await retry_run(services, child)


async def test_a_run_without_its_first_entry_is_not_found(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    await cancel(services, held.run)
    async with services.store.write() as tx:
        await tx.execute("DELETE FROM events")

    with pytest.raises(NotFound):
        await retry_run(services, held.run)
    with pytest.raises(NotFound):
        await retry_run(services, RunId(ThreadId("f" * 44), 1))
