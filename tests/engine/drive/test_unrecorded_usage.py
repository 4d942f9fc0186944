"""The cost of replies that were received but not stored."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import SPENT
from tests.engine.drive.refusing import BRIEF, FULL, TOO_LARGE, Refusing
from tests.engine.stage import (
    LIMITS,
    Stage,
    drive_new,
    resume,
    start,
)
from twelvefold.core.events import (
    RequestOptions,
    Usage,
)
from twelvefold.core.ports import (
    NullListener,
)
from twelvefold.engine.drive import drive
from twelvefold.errors import (
    ModelRejected,
    ModelUnavailable,
    StoreFailed,
    TooLarge,
)
from twelvefold.services.model.scripted import says


async def test_a_reply_that_was_not_stored_counts_in_the_usage_of_the_run(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    Refusing(services, TooLarge(TOO_LARGE), lambda change: change.status == "completed")

    outcome = await drive_new(services)

    spent = (await stage.record(outcome.run)).usage
    assert spent.total_tokens > 0
    assert outcome.thread.usage == spent


async def test_a_reply_that_another_process_paid_for_counts_in_the_budget(stage: Stage) -> None:
    limits = replace(BRIEF, run_tokens=SPENT.total_tokens + 1)
    services = stage.process(says("Hello."), limits=limits)
    Refusing(services, StoreFailed(FULL), lambda change: True)
    first = await drive_new(services)
    paid = (await stage.record(first.run)).usage

    outcome = await resume(stage.process(says("Hello."), limits=budget(paid)), first.run)

    assert (outcome.status, outcome.error) == ("incomplete", "token_budget")
    assert len(stage.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_that_broke_off_count_in_the_budget(stage: Stage, stream: bool) -> None:
    broken = ModelUnavailable("it broke off")
    broken.usage = Usage(input_tokens=900, output_tokens=100)
    services = stage.process(broken)

    first = await drive(
        services, await start(services, options=RequestOptions(stream=stream)), NullListener()
    )

    assert (first.status, (await stage.record(first.run)).usage) == ("queued", broken.usage)
    limits = budget(broken.usage)
    outcome = await resume(stage.process(says("Hello."), limits=limits), first.run)
    assert (outcome.status, outcome.error) == ("incomplete", "token_budget")


async def test_attempts_of_a_rejected_request_count_in_the_usage(stage: Stage) -> None:
    rejected = ModelRejected("no such model")
    rejected.usage = Usage(input_tokens=900)

    outcome = await drive_new(stage.process(rejected))

    assert (outcome.status, (await stage.record(outcome.run)).usage) == ("failed", rejected.usage)


def budget(paid: Usage) -> Any:
    return replace(LIMITS, run_tokens=paid.total_tokens)
