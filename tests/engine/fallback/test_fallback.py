"""Which model of a chain is asked, and what the journal, the usage and the errors have of it."""

from dataclasses import replace

import pytest

from tests.builders import SPENT, user
from tests.engine.fallback.stories import (
    PAID,
    Models,
    Slow,
    broken,
    process_with,
    replies,
    requests_of,
    too_large,
)
from tests.engine.stage import LIMITS, Stage, drive_new, resume, start
from twelvefold.core.budget import Price
from twelvefold.core.events import DEFAULT_OPTIONS, ModelAttempt, RequestOptions
from twelvefold.core.models import Fallback, ModelProfile
from twelvefold.core.ports import ModelReply, NullListener
from twelvefold.engine.drive import drive
from twelvefold.engine.fallback import model_limits, run_limits
from twelvefold.errors import ModelRejected, RequestError, StoreUnavailable
from twelvefold.services.model.scripted import calls, says

CHAIN = Fallback("fast", "careful")
LAMP = {"item": "a lamp"}
SMALL, LARGE = ModelProfile(window_tokens=1_000), ModelProfile(window_tokens=100_000)


def paid(text: str) -> ModelReply:
    return ModelReply(tuple(says(text)), SPENT, "m-1", "ab" * 32)


async def test_a_run_has_the_model_of_its_workflow(stage: Stage) -> None:
    services = process_with(stage, "careful", {"careful": [says("Hello.")]})

    outcome = await drive_new(services)

    (reply,) = await replies(stage, outcome.run)
    assert (outcome.status, reply.named, reply.attempts) == ("completed", "careful", ())
    assert requests_of(services, "careful")[0].attempts == 0


async def test_a_run_without_a_named_model_records_no_name(stage: Stage) -> None:
    outcome = await drive_new(stage.process(says("Hello.")))

    (reply,) = await replies(stage, outcome.run)
    assert (reply.named, reply.attempts) == ("", ())
    assert outcome.thread.usage_by_model == {}


async def test_the_caller_can_choose_another_model(stage: Stage) -> None:
    services = process_with(stage, CHAIN, {"cheap": [says("Hello.")]}, choices=("cheap",))

    held = await start(services, options=RequestOptions(model="cheap"))
    outcome = await drive(services, held, NullListener())

    (reply,) = await replies(stage, outcome.run)
    assert (outcome.status, reply.named) == ("completed", "cheap")


async def test_the_default_model_can_be_part_of_a_chain(stage: Stage) -> None:
    chain = Fallback("fast", "default")
    services = process_with(stage, chain, {"fast": [broken()]}, default=[says("Hello.")])

    outcome = await drive_new(services)

    (reply,) = await replies(stage, outcome.run)
    assert (outcome.status, reply.named) == ("completed", "default")


async def test_the_next_model_is_asked_after_an_outage(stage: Stage) -> None:
    careful = [paid("Hello.")]
    services = process_with(stage, CHAIN, {"fast": [broken()], "careful": careful})

    outcome = await drive_new(services)

    (reply,) = await replies(stage, outcome.run)
    assert (outcome.status, reply.named) == ("completed", "careful")
    assert reply.attempts == (ModelAttempt("fast", "it broke off", PAID),)
    assert reply.usage == SPENT
    assert outcome.thread.usage == (await stage.record(outcome.run)).usage == PAID + SPENT
    assert outcome.thread.usage_by_model == {"fast": PAID, "careful": SPENT}
    assert [request.attempts for request in requests_of(services, "fast")] == [2]
    assert [request.attempts for request in requests_of(services, "careful")] == [0]


async def test_the_next_model_is_asked_after_a_refusal_by_size(stage: Stage) -> None:
    models: Models = {"fast": [too_large()], "careful": [says("Hello.")]}

    outcome = await drive_new(process_with(stage, CHAIN, models))

    (reply,) = await replies(stage, outcome.run)
    assert reply.attempts == (ModelAttempt("fast", "8192 tokens are the most"),)


async def test_the_next_model_is_asked_after_the_time_of_a_model(stage: Stage) -> None:
    chain = Fallback("fast", "careful", after_s=0.01, on=())
    services = process_with(stage, chain, {"fast": Slow(), "careful": [says("Hello.")]})

    outcome = await drive_new(services)

    (reply,) = await replies(stage, outcome.run)
    assert outcome.status == "completed"
    assert reply.attempts == (ModelAttempt("fast", "no complete reply in 0.01 s", PAID),)


async def test_a_timeout_inside_a_model_is_no_time_limit_of_the_chain(stage: Stage) -> None:
    chain = Fallback("fast", "careful", after_s=60)
    services = process_with(stage, chain, {"fast": [TimeoutError("a bug")], "careful": []})

    with pytest.raises(TimeoutError, match="a bug"):
        await drive_new(services)

    assert requests_of(services, "careful") == []


async def test_a_caller_cannot_choose_a_model_that_the_workflow_does_not_allow(
    stage: Stage,
) -> None:
    services = process_with(stage, CHAIN, {"cheap": []}, choices=("cheap",))

    with pytest.raises(RequestError, match="has no model 'fast' for callers; there are cheap"):
        await start(services, options=RequestOptions(model="fast"))
    with pytest.raises(RequestError, match="has no model 'fast' for callers; there are none"):
        await start(stage.process(), options=RequestOptions(model="fast"))


async def test_every_reply_starts_with_the_first_model_again(stage: Stage) -> None:
    fast = [calls(("look", LAMP)), says("Hello.")]
    services = process_with(stage, CHAIN, {"fast": fast, "careful": []})

    outcome = await drive_new(services)

    assert [one.named for one in await replies(stage, outcome.run)] == ["fast", "fast"]


@pytest.mark.parametrize(
    ("error", "on"),
    [
        (broken("no answer", None), ("too_large",)),
        (too_large(), ("outage",)),
        (ModelRejected("invalid"), ("outage", "too_large")),
    ],
)
async def test_other_errors_end_the_chain(
    stage: Stage, error: Exception, on: tuple[str, ...]
) -> None:
    chain = Fallback("fast", "careful", on=on)  # type: ignore[arg-type]  # parametrized
    services = process_with(stage, chain, {"fast": [error], "careful": []})

    outcome = await drive_new(services)

    assert outcome.error == str(error)
    assert requests_of(services, "careful") == []


async def test_a_chain_without_a_reply_names_each_model_in_its_error(stage: Stage) -> None:
    chain = Fallback("fast", "careful", "last")
    models: Models = {"fast": [broken()], "careful": [too_large()], "last": [broken("gone", None)]}

    outcome = await drive_new(process_with(stage, chain, models))

    assert outcome.status == "queued"
    assert outcome.error == (
        "no model of the chain replied: fast: it broke off; careful: 8192 tokens are the most; "
        "last: gone"
    )
    record = await stage.record(outcome.run)
    assert (record.usage, record.error) == (PAID, outcome.error)


async def test_an_outage_before_a_refusal_by_size_may_pass(stage: Stage) -> None:
    models: Models = {"fast": [broken("gone", None)], "careful": [too_large()]}

    outcome = await drive_new(process_with(stage, CHAIN, models))

    assert outcome.status == "queued"


@pytest.mark.parametrize(
    ("fast", "careful"), [(broken(), ModelRejected("invalid")), (too_large(), too_large())]
)
async def test_a_chain_that_ends_with_a_rejection_fails_the_run(
    stage: Stage, fast: Exception, careful: Exception
) -> None:
    models: Models = {"fast": [fast], "careful": [careful]}

    outcome = await drive_new(process_with(stage, CHAIN, models))

    assert (outcome.status, outcome.thread.reason) == ("failed", "rejected")
    assert outcome.error == f"no model of the chain replied: fast: {fast}; careful: {careful}"


async def test_a_model_that_no_settings_describe_is_an_outage(stage: Stage) -> None:
    alone = await drive_new(process_with(stage, "fast", {}))
    chained = await drive_new(process_with(stage, CHAIN, {"careful": [says("Hello.")]}))

    assert (alone.status, alone.error) == ("queued", "MODELS has no model 'fast'")
    (reply,) = await replies(stage, chained.run)
    assert reply.attempts == (ModelAttempt("fast", "MODELS has no model 'fast'"),)


async def test_the_usage_of_a_rejected_request_counts(stage: Stage) -> None:
    rejected = ModelRejected("invalid")
    rejected.usage = PAID

    outcome = await drive_new(process_with(stage, "fast", {"fast": [rejected]}))

    assert (outcome.status, (await stage.record(outcome.run)).usage) == ("failed", PAID)


async def test_usage_that_cannot_be_recorded_at_once_is_part_of_the_next_commit(
    stage: Stage, short_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: Models = {"fast": [broken()], "careful": [paid("Hello.")]}
    services = process_with(stage, CHAIN, models)

    async def fails(*given: object) -> None:
        raise StoreUnavailable("it is gone")

    monkeypatch.setattr(services.store, "record_usage", fails)
    outcome = await drive_new(services)

    assert (outcome.status, (await stage.record(outcome.run)).usage) == ("completed", PAID + SPENT)


# --- windows ----------------------------------------------------------------------------------


async def test_a_conversation_is_shortened_to_the_window_of_the_model(stage: Stage) -> None:
    profiles = {"fast": SMALL}
    services = process_with(
        stage, "fast", {"fast": [says("x" * 2_500), says("Hello.")]}, profiles=profiles
    )
    first = await drive_new(services)
    held = await start(services, "again", thread=first.run.thread)

    await drive(services, held, NullListener())

    last = requests_of(services, "fast")[-1]
    assert list(last.items) == [user("again")]


async def test_a_model_whose_window_is_too_small_is_passed_over(stage: Stage) -> None:
    services = process_with(
        stage,
        CHAIN,
        {"fast": [says("x" * 2_500)], "careful": [says("-"), says("Bye.")]},
        profiles={"fast": SMALL, "careful": LARGE},
    )
    first = await drive_new(services)
    held = await start(services, "again", thread=first.run.thread)

    outcome = await drive(services, held, NullListener())

    reply = (await replies(stage, outcome.run))[-1]
    assert reply.named == "careful"
    assert reply.attempts == (
        ModelAttempt("fast", "the conversation exceeds its window of 1000 tokens"),
    )
    assert len(requests_of(services, "careful")[0].items) == 3


@pytest.mark.parametrize(
    ("chain", "careful"), [(CHAIN, SMALL), (Fallback("fast", "careful", on=("outage",)), LARGE)]
)
async def test_a_conversation_is_shortened_if_no_model_has_a_larger_window(
    stage: Stage, chain: Fallback, careful: ModelProfile
) -> None:
    services = process_with(
        stage,
        chain,
        {"fast": [says("x" * 2_500), says("Bye.")], "careful": []},
        profiles={"fast": SMALL, "careful": careful},
    )
    first = await drive_new(services)
    held = await start(services, "again", thread=first.run.thread)

    outcome = await drive(services, held, NullListener())

    reply = (await replies(stage, outcome.run))[-1]
    assert (reply.named, reply.attempts) == ("fast", ())


async def test_a_turn_that_exceeds_the_window_goes_to_the_next_model(stage: Stage) -> None:
    services = process_with(
        stage,
        CHAIN,
        {"fast": [], "careful": [says("Hello.")]},
        profiles={"fast": SMALL, "careful": LARGE},
    )

    outcome = await drive(services, await start(services, "x" * 9_000), NullListener())

    (reply,) = await replies(stage, outcome.run)
    (attempt,) = reply.attempts
    assert attempt.model == "fast"
    assert "set MODELS: fast.window if the model's window is larger" in attempt.error


async def test_a_turn_that_exceeds_the_window_of_the_only_model_fails(stage: Stage) -> None:
    services = process_with(stage, "fast", {"fast": []}, profiles={"fast": SMALL})

    outcome = await drive(services, await start(services, "x" * 9_000), NullListener())

    assert (outcome.status, outcome.thread.reason) == ("failed", "rejected")


# --- prices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "end"), [(1_900, ("incomplete", "usd_budget")), (1_901, ("completed", ""))]
)
async def test_the_budget_counts_each_model_at_its_price(
    stage: Stage, budget: int, end: tuple[str, str]
) -> None:
    cheap, dear = Price(1_000_000, 0, 0), Price(10_000_000, 0, 0)
    limits = replace(LIMITS, run_micro_usd=budget, prices={"fast": cheap, "careful": dear})
    looks = ModelReply(tuple(calls(("look", LAMP))), SPENT, "m-1", "ab" * 32)
    services = process_with(
        stage,
        CHAIN,
        {"fast": [broken()], "careful": [looks, says("Hello.")]},
        limits=limits,
        profiles={"fast": ModelProfile(price=cheap), "careful": ModelProfile(price=dear)},
    )

    outcome = await drive_new(services)

    # The first reply: 900 tokens at 1 micro-dollar, and 100 at 10.
    assert (outcome.status, outcome.error) == end


async def test_tokens_without_a_recorded_model_have_the_highest_price_of_the_chain(
    stage: Stage,
) -> None:
    cheap, dear = Price(1_000_000, 0, 0), Price(10_000_000, 0, 0)
    limits = replace(LIMITS, run_micro_usd=9_000, prices={"fast": cheap, "careful": dear})
    profiles = {"fast": ModelProfile(price=cheap), "careful": ModelProfile(price=dear)}
    lost = {"fast": [broken()], "careful": [broken("gone", None)]}
    first = await drive_new(process_with(stage, CHAIN, lost, limits=limits, profiles=profiles))

    again = {"fast": [says("Hello.")], "careful": []}
    services = process_with(stage, CHAIN, again, limits=limits, profiles=profiles)
    outcome = await resume(services, first.run)

    assert (outcome.status, outcome.error) == ("incomplete", "usd_budget")


async def test_the_limits_of_a_run_are_those_of_the_process_without_named_models(
    stage: Stage,
) -> None:
    services = stage.process()
    (workflow,) = services.workflows.values()

    assert run_limits(services, workflow, DEFAULT_OPTIONS) is services.limits
    assert model_limits(services, "default") is services.limits


async def test_a_run_knows_what_each_model_of_its_chain_accepts(stage: Stage) -> None:
    profiles = {
        "fast": ModelProfile(accepts=frozenset({"image"})),
        "careful": ModelProfile(accepts=frozenset({"image", "file"})),
    }
    services = process_with(stage, CHAIN, {}, profiles=profiles)
    (workflow,) = services.workflows.values()

    images, both = frozenset({"image"}), frozenset({"image", "file"})
    assert services.inputs(workflow, DEFAULT_OPTIONS) == (images, both)
    assert services.inputs(workflow, RequestOptions(model="careful")) == (both,)
    assert services.inputs(workflow, RequestOptions(model="other")) == (frozenset(),)
