"""Which attempts at a step count towards `max_attempts`."""

from dataclasses import replace

import pytest

from tests.builders import user
from tests.engine.drive.refusing import BRIEF, BRIEF_TWICE, FULL, Refusing
from tests.engine.stage import (
    ANN,
    Stage,
    drive_new,
    resume,
    start,
)
from twelvefold.core.events import (
    Usage,
)
from twelvefold.core.ports import (
    Listener,
    ModelReply,
    ModelRequest,
    NullListener,
)
from twelvefold.engine.commands import RunRequest, enqueue_run
from twelvefold.engine.drive import drive
from twelvefold.errors import (
    ModelUnavailable,
    StoreFailed,
)
from twelvefold.services.model.scripted import says


async def test_an_attempt_that_the_database_ended_counts(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=replace(BRIEF, max_attempts=2))
    Refusing(services, StoreFailed(FULL), lambda change: True)
    outcome = await drive_new(services)
    for _ in range(2):
        assert outcome.status == "queued"
        other = stage.process(says("Hello."), limits=replace(BRIEF, max_attempts=2))
        Refusing(other, StoreFailed(FULL), lambda change: True)
        outcome = await resume(other, outcome.run)
    requests = len(stage.requests)

    last = await resume(stage.process(says("Hello."), limits=BRIEF_TWICE), outcome.run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")
    assert last.error == f"2 attempts at this step ended without a result; the last error: {FULL}"
    assert len(stage.requests) == requests == 3


async def test_an_attempt_that_the_model_ended_does_not_count(stage: Stage) -> None:
    away = ModelUnavailable("the model is away")
    outcome = await drive_new(stage.process(away))

    for _ in range(3):
        outcome = await resume(stage.process(away, limits=BRIEF_TWICE), outcome.run)

    assert outcome.status == "queued"


async def test_an_attempt_with_a_part_of_a_reply_counts(stage: Stage) -> None:
    broken = ModelUnavailable("it broke off")
    broken.usage = Usage(input_tokens=900)
    outcome = await drive_new(stage.process(broken, limits=BRIEF_TWICE))
    for _ in range(2):
        assert outcome.status == "queued"
        outcome = await resume(stage.process(broken, limits=BRIEF_TWICE), outcome.run)
    paid = len(stage.requests)

    last = await resume(stage.process(says("Hello."), limits=BRIEF_TWICE), outcome.run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")
    assert len(stage.requests) == paid


async def test_an_unexpected_error_counts_as_an_attempt(stage: Stage) -> None:
    bug = KeyError("usage")
    outcome = await drive_new(stage.process(ModelUnavailable("the model is away")))
    for _ in range(2):
        with pytest.raises(KeyError):
            await resume(stage.process(bug, limits=BRIEF_TWICE), outcome.run)

    last = await resume(stage.process(bug, limits=BRIEF_TWICE), outcome.run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")


class Panic(BaseException):
    """Like PyO3's PanicException, which is no Exception."""


class PanickingModel:
    """A model whose client panics."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        raise Panic

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_panic_counts_as_an_attempt(stage: Stage) -> None:
    services = stage.process(model=PanickingModel(), limits=BRIEF_TWICE)
    run = (await start(services)).run
    await stage.let_leases_run_out()
    for _ in range(2):
        with pytest.raises(Panic):
            await resume(services, run)

    last = await resume(services, run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")


async def test_a_run_that_an_unexpected_error_stopped_waits_behind_other_runs(
    stage: Stage,
) -> None:
    services = stage.process(KeyError("usage"))
    other, _ = await enqueue_run(
        services, RunRequest(workflow="shop", principal=ANN, items=[user("hi")])
    )
    with pytest.raises(KeyError):
        await drive(services, run := await start(services), NullListener())

    waiting = (await services.store.waiting_work(workflows=["shop"], limit=10)).runs

    assert [one.run for one in waiting] == [other, run.run]
