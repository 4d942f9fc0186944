"""Errors of the database are never a tool's: the step did not happen; the run says why it fails."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import SPENT, open_call, user
from tests.engine.leases import lease_of
from tests.engine.stage import (
    ANN,
    LIMITS,
    Stage,
    after_start,
    drive_new,
    fault,
    resume,
    start,
    world,
)
from twelvefold.core.events import (
    Event,
    OutcomeUnknown,
    RequestOptions,
    RunFinished,
    ToolError,
    ToolFailed,
    ToolSucceeded,
    Usage,
)
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId, RunId
from twelvefold.core.ports import (
    Append,
    Listener,
    ModelReply,
    ModelRequest,
    NullListener,
    ReadOnly,
    Row,
    StepTransaction,
    Transaction,
)
from twelvefold.core.workflow import Tool, Workflow, tool
from twelvefold.engine.commands import enqueue_run, take
from twelvefold.engine.drive import drive
from twelvefold.engine.lease import RenewedLease
from twelvefold.engine.perform import run_call
from twelvefold.engine.retry import cause_of, retry_unavailable
from twelvefold.engine.services import Services
from twelvefold.errors import (
    ModelRejected,
    ModelUnavailable,
    StoreFailed,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
    ToolRefused,
)
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}
FULL = "the table 'bought' is full (MySQL error 1114)"
TOO_LARGE = "the entry is larger than max_allowed_packet"
BRIEF = replace(LIMITS, retry_timeout_s=0.02)
SOON = replace(LIMITS, deadline_s=1.0)


def raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class Refusing:
    """Lets a store refuse the commits that a predicate picks, as a server does."""

    def __init__(
        self, services: Services, error: Exception, when: Callable[[Append], bool]
    ) -> None:
        self._append = services.store.append
        self._error = error
        self._when = when
        self.refused = 0
        services.store.append = self.append  # type: ignore[method-assign]

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        async with self._append(change) as tx:
            yield tx
            if self._when(change):
                self.refused += 1
                raise self._error


async def story(stage: Stage, run: RunId) -> list[Event]:
    return after_start(await stage.journal(run))


# --- how long


async def test_an_error_that_may_last_is_retried_for_a_bounded_time() -> None:
    async def fail() -> None:
        raise StoreFailed(FULL)

    with pytest.raises(StoreFailed, match="1114"):
        await retry_unavailable(fail, math.inf, 0.01)


async def test_a_deadline_says_which_error_was_being_retried() -> None:
    async def fail() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await retry_unavailable(fail, math.inf)

    assert str(cause_of(caught.value)) == "away"


async def test_a_deadline_on_its_own_has_no_cause_in_the_database() -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await retry_unavailable(lambda: asyncio.sleep(20), math.inf)

    assert cause_of(caught.value) is None


# --- what becomes of the run


async def test_a_run_fails_with_the_error_that_lasted(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), limits=BRIEF)
    Refusing(services, StoreFailed(FULL), lambda change: change.status == "running")

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("failed", FULL)
    assert (await stage.record(outcome.run)).error == FULL
    assert await story(stage, outcome.run) == [RunFinished("failed", "database", FULL)]
    assert await stage.bought() == []


async def test_a_run_whose_database_asks_for_retries_until_the_deadline_says_so(
    stage: Stage,
) -> None:
    services = stage.process(calls(("buy", LAMP)), limits=SOON)
    Refusing(services, StoreUnavailable("deadlock"), lambda change: change.status == "running")

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("failed", "deadlock")


@pytest.mark.usefixtures("short_retries")
async def test_an_attempt_that_the_database_ended_counts(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=replace(BRIEF, max_attempts=2))
    Refusing(services, StoreFailed(FULL), lambda change: True)
    outcome = await drive_new(services)
    for _ in range(2):
        assert outcome.status == "queued"
        other = stage.process(says("Hello."), limits=replace(BRIEF, max_attempts=2))
        Refusing(other, StoreFailed(FULL), lambda change: True)
        outcome = await resume(other, outcome.run)
    asked = len(stage.requests)

    last = await resume(stage.process(says("Hello."), limits=BRIEF_TWICE), outcome.run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")
    assert last.error == f"2 attempts at this step ended without a result; the last error: {FULL}"
    assert len(stage.requests) == asked == 3


@pytest.mark.usefixtures("short_retries")
async def test_who_cannot_write_the_end_says_why(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=SOON)
    Refusing(services, StoreFailed(FULL), lambda change: True)

    outcome = await drive_new(services)

    assert outcome.status == "queued"
    assert outcome.error == f"the end of the run is not written: {FULL}"


BRIEF_TWICE = replace(BRIEF, max_attempts=2)


async def test_an_attempt_that_the_model_ended_does_not_count(stage: Stage) -> None:
    away = ModelUnavailable("the model is away")
    outcome = await drive_new(stage.process(away))

    for _ in range(3):
        outcome = await resume(stage.process(away, limits=BRIEF_TWICE), outcome.run)

    assert outcome.status == "queued"


async def test_an_attempt_that_paid_for_a_part_of_a_reply_counts(stage: Stage) -> None:
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


async def test_what_can_never_be_stored_fails_the_run_at_once(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)))
    refusing = Refusing(services, TooLarge(TOO_LARGE), lambda change: change.status == "running")

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("failed", TOO_LARGE)
    assert len(stage.requests) == refusing.refused == 1


# --- what was paid for


async def test_a_reply_that_was_not_stored_counts_in_what_the_run_has_cost(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    Refusing(services, TooLarge(TOO_LARGE), lambda change: change.status == "completed")

    outcome = await drive_new(services)

    spent = (await stage.record(outcome.run)).usage
    assert spent.total_tokens > 0
    assert outcome.thread.usage == spent


@pytest.mark.usefixtures("short_retries")
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
async def test_tries_that_broke_off_count_in_the_budget(stage: Stage, stream: bool) -> None:
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


async def test_tries_of_a_request_that_was_rejected_count_too(stage: Stage) -> None:
    rejected = ModelRejected("no such model")
    rejected.usage = Usage(input_tokens=900)

    outcome = await drive_new(stage.process(rejected))

    assert (outcome.status, (await stage.record(outcome.run)).usage) == ("failed", rejected.usage)


def budget(paid: Usage) -> Any:
    return replace(LIMITS, run_tokens=paid.total_tokens)


class Registered:
    """A renewer that only knows which leases it is to renew."""

    def __init__(self) -> None:
        self.leases: set[RenewedLease] = set()

    def add(self, held: RenewedLease) -> None:
        self.leases.add(held)

    async def discard(self, held: RenewedLease) -> None:
        self.leases.discard(held)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.usefixtures("short_retries")
async def test_the_lease_is_renewed_while_the_run_is_ended_and_given_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process pays for the same reply, and this one's cannot be counted."""
    renewer = Registered()
    services = replace(stage.process(says("Hello."), limits=SOON), renewer=renewer)
    renewed: list[bool] = []
    release = services.store.release

    def refused(_: Append) -> bool:
        renewed.append(bool(renewer.leases))
        return True

    async def released(*which: Any, **how: Any) -> bool:
        renewed.append(bool(renewer.leases))
        return await release(*which, **how)

    Refusing(services, StoreFailed(FULL), refused)
    monkeypatch.setattr(services.store, "release", released)

    outcome = await drive_new(services)

    assert outcome.status == "queued"
    assert all(renewed)
    assert not renewer.leases


# --- a result that is known


@pytest.mark.parametrize("error", [StoreFailed(FULL), TooLarge(TOO_LARGE)])
async def test_the_known_result_of_an_unsafe_call_is_written_with_the_end(
    stage: Stage, error: Exception
) -> None:
    services = stage.process(calls(("ship", LAMP)), limits=BRIEF)
    Refusing(services, error, lambda change: change.status == "running" and bool(world.shipped))

    outcome = await drive_new(services)

    assert outcome.status == "failed"
    assert (await story(stage, outcome.run))[1:] == [
        ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"),
        RunFinished("failed", "database", str(error)),
    ]


async def test_a_call_whose_outcome_is_unknown_is_left_to_a_person(stage: Stage) -> None:
    @tool(name="ship", effect="unsafe", timeout_s=0.01)
    async def ship_slowly(item: str) -> None:
        """Ship it."""
        world.shipped.append(item)
        await asyncio.sleep(20)

    workflow = Workflow("shop", "Sell.", (ship_slowly,))
    limits = replace(LIMITS, retry_timeout_s=0.0)
    services = stage.process(calls(("ship", LAMP)), limits=limits, workflow=workflow)
    refused = iter([False, True, False])  # the reply is written, the outcome only at the end
    Refusing(services, StoreFailed(FULL), lambda _: next(refused))

    outcome = await drive_new(services)

    assert outcome.status == "waiting"
    assert (await story(stage, outcome.run))[1:] == [OutcomeUnknown(CallId("2.0"), "ship")]


# --- what a tool makes of it


class Lost:
    """A connection whose transaction has ended."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def raise_if_lost(self) -> None:
        if self._error:
            raise self._error

    async def fetch_one(self, statement: object, /, **values: Any) -> Row | None:
        return (await self.fetch_all(statement, **values) or [None])[0]  # type: ignore[list-item]

    async def fetch_all(self, statement: object, /, **values: Any) -> list[Row]:
        self.raise_if_lost()
        return []


def swallowing(then: Exception | None, *, timeout_s: float = 60.0, waits: bool = False) -> Tool:
    """A tool that passes over what its database says, and then does something else."""

    @tool(name="look", timeout_s=timeout_s)
    async def look(db: ReadOnly) -> str:
        """Look."""
        with suppress(Exception):
            await db.fetch_all("select 1")
        if waits:
            await asyncio.sleep(20)
        if then is not None:
            raise then
        return "fine"

    return look


async def performed(stage: Stage, one: Tool, db: Lost) -> Event:
    services, call = stage.process(), ValidCall(open_call("look", id="2.0"), one, {})
    held = lease_of(services.monotonic)
    return await run_call(services, held, "ann", call, db)


@pytest.mark.parametrize(
    "then", [None, ToolRefused("no"), ValueError("no"), SystemExit(1), StoreRefused("no")]
)
@pytest.mark.parametrize("error", [StoreUnavailable("deadlock"), StoreFailed(FULL)])
async def test_a_tool_cannot_hide_that_its_transaction_was_lost(
    stage: Stage, error: Exception, then: Exception
) -> None:
    with pytest.raises(type(error), match=str(error)[:8]):
        await performed(stage, swallowing(then), Lost(error))


async def test_a_statement_that_was_never_answered_is_no_fault_of_the_tool(stage: Stage) -> None:
    with pytest.raises(StoreFailed):
        await performed(
            stage, swallowing(None, timeout_s=0.01, waits=True), Lost(StoreFailed("slow"))
        )


async def test_a_tool_whose_own_statement_ended_the_transaction_has_failed(stage: Stage) -> None:
    told = await performed(stage, swallowing(None), Lost(StoreRefused("DDL")))

    assert fault(told) == ("2.0", "look", ToolError("StoreRefused", "DDL"))


async def test_a_tool_whose_transaction_is_whole_answers_for_itself(stage: Stage) -> None:
    told = await performed(stage, swallowing(ToolRefused("no")), Lost(None))

    assert told == ToolFailed(CallId("2.0"), "look", "refused", "Error: no")


async def test_a_known_result_that_can_never_be_stored_is_asked_of_a_person(stage: Stage) -> None:
    services = stage.process(calls(("ship", LAMP)))
    Refusing(
        services,
        TooLarge(TOO_LARGE),
        lambda change: bool(world.shipped) and change.status != "waiting",
    )

    outcome = await drive_new(services)

    assert (outcome.status, outcome.error) == ("waiting", TOO_LARGE)
    assert (await stage.record(outcome.run)).error == TOO_LARGE
    assert (await story(stage, outcome.run))[1:] == [OutcomeUnknown(CallId("2.0"), "ship")]


async def test_an_end_that_can_never_be_stored_is_given_back_as_an_attempt(stage: Stage) -> None:
    services = stage.process(says("Hello."))
    Refusing(services, TooLarge(TOO_LARGE), lambda change: True)

    with pytest.raises(TooLarge):
        await drive(services, run := await start(services), NullListener())

    assert (await stage.record(run.run)).status == "queued"


class Failing:
    """Lets the commits behind a shipping fail with these errors; the first ends the process."""

    def __init__(self, services: Services, *errors: Exception) -> None:
        self._append = services.store.append
        self._errors = list(errors)
        self.stop: Callable[[], object] = lambda: None
        services.store.append = self.append  # type: ignore[method-assign]

    @asynccontextmanager
    async def append(self, change: Append) -> AsyncIterator[StepTransaction]:
        async with self._append(change) as tx:
            yield tx
            if world.shipped and self._errors:
                self.stop()
                self.stop = lambda: None
                raise self._errors.pop(0)


async def stopped_while_it_writes(stage: Stage, *errors: Exception) -> RunId:
    services = stage.process(calls(("ship", LAMP)), says("Bye."))
    failing = Failing(services, *errors)
    run = await start(services)
    task = asyncio.ensure_future(drive(services, run, NullListener()))
    failing.stop = task.cancel
    await asyncio.wait([task])
    assert task.cancelled()
    return run.run


async def test_a_process_that_is_stopped_writes_the_result_that_it_knows(stage: Stage) -> None:
    run = await stopped_while_it_writes(stage, StoreUnavailable("deadlock"))

    assert not (await take(stage.process(), run)).thread.interrupted
    assert await story(stage, run) == [
        *(await story(stage, run))[:1],
        ToolSucceeded(CallId("2.0"), "ship", "shipped a lamp"),
    ]


async def test_a_result_that_cannot_be_written_before_the_process_ends_is_in_doubt(
    stage: Stage,
) -> None:
    run = await stopped_while_it_writes(stage, StoreUnavailable("deadlock"), TooLarge(TOO_LARGE))

    assert (await take(stage.process(), run)).thread.interrupted


async def test_an_error_of_our_own_counts_as_an_attempt(stage: Stage) -> None:
    bug = KeyError("usage")
    outcome = await drive_new(stage.process(ModelUnavailable("the model is away")))
    for _ in range(2):
        with pytest.raises(KeyError):
            await resume(stage.process(bug, limits=BRIEF_TWICE), outcome.run)

    last = await resume(stage.process(bug, limits=BRIEF_TWICE), outcome.run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")


class Panic(BaseException):
    """As PyO3's PanicException, which is no Exception."""


class Panicking:
    """A model whose client panics."""

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        raise Panic

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_panic_counts_as_an_attempt(stage: Stage) -> None:
    services = stage.process(model=Panicking(), limits=BRIEF_TWICE)
    run = (await start(services)).run
    await stage.let_leases_run_out()
    for _ in range(2):
        with pytest.raises(Panic):
            await resume(services, run)

    last = await resume(services, run)

    assert (last.status, last.thread.reason) == ("failed", "attempts")


async def test_a_run_that_an_error_of_our_own_stopped_waits_behind_the_others(
    stage: Stage,
) -> None:
    services = stage.process(KeyError("usage"))
    other, _ = await enqueue_run(services, workflow="shop", principal=ANN, items=[user("hi")])
    with pytest.raises(KeyError):
        await drive(services, run := await start(services), NullListener())

    waiting = (await services.store.waiting_work(workflows=["shop"], limit=10)).runs

    assert [one.run for one in waiting] == [other, run.run]


async def test_a_statement_that_the_tool_did_not_wait_for_is_its_fault(stage: Stage) -> None:
    left: list[asyncio.Task[int]] = []

    @tool
    async def buy(tx: Transaction, item: str) -> str:
        """Buy it."""
        insert = "insert into bought (item, who) values (:item, 'ann')"
        left.append(asyncio.create_task(tx.execute(insert, item=item)))
        return "bought"

    workflow = Workflow("shop", "Sell.", (buy,))
    services = stage.process(calls(("buy", LAMP)), says("Sorry."), workflow=workflow)

    outcome = await drive_new(services)

    await asyncio.wait(left)
    failed = (await story(stage, outcome.run))[1]
    assert isinstance(failed, ToolFailed)
    assert failed.error is not None
    assert "still under way" in failed.error.message
    assert await stage.bought() == []
