"""Fork a thread."""

from typing import Any

import pytest
from msgspec import structs

from tests.builders import asked
from tests.engine.commands.stories import MISSING
from tests.engine.stage import (
    ANN,
    Stage,
    cut_off,
    drive_new,
    start,
)
from tests.services.store.builders import new_run
from twelvefold.core.ids import RunId, family_of
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import (
    fork_at,
)
from twelvefold.errors import (
    NotFound,
    RequestError,
)
from twelvefold.services.model.scripted import says


async def test_a_fork_continues_from_an_entry(stage: Stage) -> None:
    services = stage.process(says("Hello."), says("Well?"))
    first = await drive_new(services)

    by_run = await fork_at(services, first.run, 2)
    by_thread = await fork_at(services, first.run.thread, 3, principal=ANN)

    forked = await start(services, "hm", thread=by_run)
    assert forked.run == RunId(by_run, 2)
    assert forked.thread.history.entries == first.thread.entries[:2]
    assert (await services.store.thread(by_thread)).forked_at == 3
    assert family_of(by_run) == family_of(by_thread) == family_of(first.run.thread)


async def test_a_run_that_another_one_started_is_not_forked(stage: Stage) -> None:
    services = stage.process()
    new, parent = new_run(), f"resp_{'0' * 44}1"
    await services.store.start(new, structs.replace(asked(), parent=parent), None)

    with pytest.raises(RequestError, match=rf"{new.run} was started by run {parent}; fork that"):
        await fork_at(services, new.run, 1)


async def test_a_fork_at_an_entry_of_the_origin_is_a_fork_of_the_origin(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    first = await drive_new(services)
    second = await fork_at(services, await fork_at(services, first.run, 3), 3)

    third = await fork_at(services, second, 2)

    head = await services.store.thread(third)
    assert (head.forked_from, head.forked_at) == (first.run.thread, 2)


async def test_a_fork_is_made_once_even_if_the_answer_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stage.process(says("Hello."))
    first = await drive_new(services)
    fork_here, tries = services.store.fork, iter(range(1))

    async def lose_answer(*args: Any) -> None:
        await fork_here(*args)
        if next(tries, None) is not None:
            cut_off()

    monkeypatch.setattr(services.store, "fork", lose_answer)

    fork = await fork_at(services, first.run, 2)

    assert (await services.store.thread(fork)).forked_at == 2


async def test_an_unknown_entry_or_a_thread_of_another_principal_cannot_be_forked(
    stage: Stage,
) -> None:
    services = stage.process(says("Hello."))
    first = await drive_new(services)

    with pytest.raises(NotFound):
        await fork_at(services, MISSING, 1)
    with pytest.raises(NotFound):
        await fork_at(services, first.run, 9)
    with pytest.raises(NotFound, match=f"no thread conv_{first.run.thread}"):
        await fork_at(services, first.run, 1, principal=Principal("bob"))
