"""The transactions of plain functions: statements from a thread, on the connection of the step."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.builders import open_call
from tests.engine.leases import lease_of, until
from tests.engine.stage import Stage, drive_new, fault
from tests.loop_clock import LoopClock
from tests.waiting import HANG_S
from twelvefold.core.events import Event, ToolError, ToolFailed, ToolSucceeded
from twelvefold.core.gates import ValidCall
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Row, SyncReadOnly, SyncTransaction, ToolReadOnly
from twelvefold.core.tools.tool import Tool, tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.perform import run_call
from twelvefold.engine.perform.sync_sql import CALL_OVER, ON_THE_LOOP, SyncReader
from twelvefold.errors import DuplicateRow, StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.services.model.scripted import calls, says

INSERT = "insert into bought (item, who) values (:item, 'ann')"
TIMEOUT_S = 60.0
OUTCOMES = (ToolSucceeded, ToolFailed)
RUN = RunId(ThreadId(f"{1:044x}"), 1)
"""The first run of a stage."""


async def outcomes(stage: Stage, one: Tool) -> list[Event]:
    """Return the results of a run that calls the tool once."""
    workflow = Workflow("shop", "Sell.", (one,))
    await drive_new(stage.process(calls((one.name, {})), says("Done."), workflow=workflow))
    return [event for event in await stage.journal(RUN) if isinstance(event, OUTCOMES)]


async def test_the_rows_of_a_thread_commit_with_its_result(stage: Stage) -> None:
    threads: list[str] = []

    @tool(name="act")
    def act(tx: SyncTransaction) -> str:
        """Act."""
        threads.append(threading.current_thread().name)
        matched = tx.execute(INSERT, item="a lamp")
        first, all_rows = tx.fetch_one("select item from bought"), tx.fetch_all("select 1 as one")
        tx.send_mail("ann@example.org", "Welcome", "Hello")
        return f"{matched} {first} {all_rows}"

    (outcome,) = await outcomes(stage, act)

    assert isinstance(outcome, ToolSucceeded)
    assert outcome.result == "1 {'item': 'a lamp'} [{'one': 1}]"
    assert threads == ["tool act"]
    assert await stage.bought() == ["a lamp"]
    assert await mails(stage) == 1


async def mails(stage: Stage) -> int:
    async with stage.process().store.read() as db:
        return len(await db.fetch_all("select id from outbox"))


class Base(DeclarativeBase):
    """The base of a user's models."""


class Bought(Base):
    __tablename__ = "bought"

    item: Mapped[str] = mapped_column(primary_key=True)
    who: Mapped[str]


async def test_a_thread_has_an_orm_session_that_is_flushed_with_the_step(stage: Stage) -> None:
    @tool(name="act")
    def act(tx: SyncTransaction) -> list[Bought]:
        """Act."""
        session = tx.orm_session()
        session.add(Bought(item="a lamp", who="ann"))
        found = list(session.scalars(select(Bought)))
        session.add(Bought(item="a rug", who="ann"))
        return found

    (outcome,) = await outcomes(stage, act)

    assert isinstance(outcome, ToolSucceeded)
    assert outcome.result == '[{"item":"a lamp","who":"ann"}]'
    assert await stage.bought() == ["a lamp", "a rug"]


async def test_an_error_of_the_session_s_last_flush_is_the_tool_s_fault(stage: Stage) -> None:
    @tool(name="act")
    def act(tx: SyncTransaction) -> None:
        """Act."""
        tx.orm_session().add(Bought(item="a lamp", who=None))

    (outcome,) = await outcomes(stage, act)

    assert fault(outcome)[2].type == "IntegrityError"
    assert await stage.bought() == []


async def test_a_thread_that_raises_leaves_no_rows(stage: Stage) -> None:
    @tool(name="act")
    def act(tx: SyncTransaction) -> str:
        """Act."""
        tx.execute(INSERT, item="a lamp")
        tx.send_mail("ann@example.org", "Welcome", "Hello")
        raise ValueError("no")

    (outcome,) = await outcomes(stage, act)

    assert fault(outcome) == ("2.0", "act", ToolError("ValueError", "no"))
    assert (await stage.bought(), await mails(stage)) == ([], 0)


async def test_an_error_of_a_statement_is_raised_in_the_thread(stage: Stage) -> None:
    @tool(name="act")
    def act(tx: SyncTransaction) -> str:
        """Act."""
        with suppress(StoreRefused):
            tx.execute("this is no SQL")
        tx.execute("create temporary table once (id integer primary key)")
        return "done"

    (outcome,) = await outcomes(stage, act)

    call, name, error = fault(outcome)
    assert (call, name, error.type) == ("2.0", "act", "StoreRefused")


async def test_a_reader_in_a_thread_has_no_method_that_writes(stage: Stage) -> None:
    @tool(name="act")
    def act(db: SyncReadOnly) -> str:
        """Act."""
        with suppress(StoreRefused):
            db.fetch_all(INSERT, item="a lamp")
        return f"{hasattr(db, 'execute')} {db.fetch_all('select item from bought')}"

    (outcome,) = await outcomes(stage, act)

    assert isinstance(outcome, ToolSucceeded)
    assert outcome.result == "False []"
    assert await stage.bought() == []


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """An event that threads wait for; it is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_thread_that_outlives_its_timeout_writes_nothing(
    stage: Stage, go_on: threading.Event, loop_clock: LoopClock
) -> None:
    refused: list[str] = []
    has_begun = threading.Event()

    @tool(name="act", timeout_s=TIMEOUT_S)
    def act(tx: SyncTransaction) -> str:
        """Act."""
        tx.execute(INSERT, item="a lamp")
        has_begun.set()
        go_on.wait()
        for work in (
            lambda: tx.execute(INSERT, item="a rug"),
            lambda: tx.fetch_one("select 1"),
            lambda: tx.send_mail("ann@example.org", "Late", "Hello"),
        ):
            try:
                work()
            except StoreRefused as error:
                refused.append(str(error))
        return "late"

    call = asyncio.ensure_future(outcomes(stage, act))
    await until(has_begun.is_set)
    loop_clock.let_pass(TIMEOUT_S)
    (outcome,) = await call
    late = [one for one in threading.enumerate() if one.name == "tool act"]
    go_on.set()
    for thread in late:
        await asyncio.to_thread(thread.join, HANG_S)

    failed, name, error = fault(outcome)
    assert (failed, name, error.type) == ("2.0", "act", "TimeoutError")
    assert refused == [CALL_OVER] * 3
    assert (await stage.bought(), await mails(stage)) == ([], 0)


def wait_in_thread(condition: Callable[[], object]) -> None:
    """Block this thread until the condition is true."""
    while not condition():
        time.sleep(0.001)


class SlowDatabase:
    """A database that answers a statement only when the test lets it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.answers = asyncio.Event()
        self.cancelled = 0
        self.answered = 0

    async def fetch_one(self, statement: object, /, **values: Any) -> Row | None:
        return (await self.fetch_all(statement))[0]

    async def fetch_all(self, statement: object, /, **values: Any) -> list[Row]:
        self.began.set()
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.answered += 1
        return [{"one": 1}]

    def raise_if_lost(self) -> None:
        if self.cancelled:
            raise StoreFailed("the statement was not answered in time")


def call_of(one: Tool) -> ValidCall:
    return ValidCall(open_call("act", id="2.0"), one, {})


async def perform(stage: Stage, one: Tool, db: ToolReadOnly) -> object:
    services = stage.process()
    return await run_call(services, lease_of(services.monotonic), "ann", call_of(one), db)


async def test_a_statement_that_runs_at_the_timeout_is_cancelled(
    stage: Stage, loop_clock: LoopClock
) -> None:
    db, raised = SlowDatabase(), list[BaseException]()

    @tool(name="act", timeout_s=TIMEOUT_S)
    def act(db: SyncReadOnly) -> None:
        """Act."""
        try:
            db.fetch_one("select 1")
        except StoreRefused as error:
            raised.append(error)

    call = asyncio.ensure_future(perform(stage, act, db))
    await db.began.wait()
    loop_clock.let_pass(TIMEOUT_S)
    with pytest.raises(StoreFailed, match="not answered in time"):
        await call

    await until(lambda: raised)
    assert (db.cancelled, [str(error) for error in raised]) == (1, [CALL_OVER])


async def test_a_statement_of_another_thread_is_awaited_before_the_call_is_over(
    stage: Stage,
) -> None:
    slow, found = SlowDatabase(), list[Row | None]()

    @tool(name="act")
    def act(db: SyncReadOnly) -> str:
        """Act."""
        threading.Thread(target=lambda: found.append(db.fetch_one("select 1")), daemon=True).start()
        wait_in_thread(slow.began.is_set)
        return "done"

    call = asyncio.ensure_future(perform(stage, act, slow))
    await slow.began.wait()
    await asyncio.sleep(0.01)
    assert not call.done()
    slow.answers.set()

    assert await call == ToolSucceeded(CallId("2.0"), "act", "done")
    await until(lambda: found)
    assert found == [{"one": 1}]


async def test_a_cancel_while_a_statement_of_another_thread_is_awaited_ends_it(
    stage: Stage,
) -> None:
    slow, refused = SlowDatabase(), list[str]()

    def read(reader: SyncReadOnly) -> None:
        try:
            reader.fetch_one("select 1")
        except StoreRefused as error:
            refused.append(str(error))

    @tool(name="act")
    def act(db: SyncReadOnly) -> str:
        """Act."""
        threading.Thread(target=read, args=(db,), daemon=True).start()
        wait_in_thread(slow.began.is_set)
        return "done"

    call = asyncio.ensure_future(perform(stage, act, slow))
    await slow.began.wait()
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until(lambda: refused)
    assert (refused, slow.cancelled) == ([CALL_OVER], 1)


async def test_a_statement_that_has_not_begun_at_the_end_of_the_call_is_refused() -> None:
    db, refused = SlowDatabase(), list[str]()

    def read(reader: SyncReadOnly) -> None:
        try:
            reader.fetch_one("select 1")
        except StoreRefused as error:
            refused.append(str(error))

    async with SyncReader(db) as reader:
        thread = threading.Thread(target=read, args=(reader,), daemon=True)
        thread.start()
        wait_in_thread(lambda: reader._waiting)  # the event loop must not begin the statement

    await asyncio.to_thread(thread.join, HANG_S)
    assert (refused, db.began.is_set()) == ([CALL_OVER], False)


async def test_the_event_loop_itself_cannot_wait_for_a_statement(stage: Stage) -> None:
    async with SyncReader(SlowDatabase()) as reader:
        with pytest.raises(StoreRefused, match=ON_THE_LOOP):
            reader.fetch_one("select 1")


def test_no_thread_waits_for_an_event_loop_that_has_gone() -> None:
    refused: list[str] = []
    threads: list[threading.Thread] = []

    def read(reader: SyncReadOnly) -> None:
        try:
            reader.fetch_one("select 1")
        except StoreRefused as error:
            refused.append(str(error))

    async def call() -> None:
        async with SyncReader(db) as reader:
            threads.append(threading.Thread(target=read, args=(reader,), daemon=True))
            threads[0].start()
            await asyncio.sleep(HANG_S)

    async def begin() -> Any:
        task = call()
        task.send(None)  # driven by hand: no loop will ever cancel it
        await asyncio.wait_for(db.began.wait(), HANG_S)
        return task

    with asyncio.Runner() as runner:
        db = SlowDatabase()
        left = runner.run(begin())
        left.close()
        threads[0].join(HANG_S)

    assert refused == [CALL_OVER]


@pytest.mark.parametrize("error", [StoreUnavailable("deadlock"), DuplicateRow("twice")])
async def test_an_error_of_the_store_has_its_type_in_the_thread(
    stage: Stage, error: Exception
) -> None:
    class Failing(SlowDatabase):
        async def fetch_all(self, statement: object, /, **values: Any) -> list[Row]:
            raise error

    raised: list[Exception] = []

    @tool(name="act")
    def act(db: SyncReadOnly) -> str:
        """Act."""
        try:
            db.fetch_all("select 1")
        except Exception as found:
            raised.append(found)
        return "done"

    await perform(stage, act, Failing())

    assert raised == [error]


async def test_a_thread_cannot_hide_that_its_transaction_was_lost(stage: Stage) -> None:
    class Lost(SlowDatabase):
        async def fetch_all(self, statement: object, /, **values: Any) -> list[Row]:
            raise StoreUnavailable("deadlock")

        def raise_if_lost(self) -> None:
            raise StoreUnavailable("deadlock")

    @tool(name="act")
    def act(db: SyncReadOnly) -> str:
        """Act."""
        with suppress(StoreUnavailable):
            db.fetch_all("select 1")
        return "done"

    with pytest.raises(StoreUnavailable, match="deadlock"):
        await perform(stage, act, Lost())
