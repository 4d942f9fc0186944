import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.builders import HASH, SPENT, assistant, function_call, output, own_tool, user
from tests.engine.stage import (
    SHOP,
    RecordingListener,
    Stage,
    Trouble,
    after_start,
    buy,
    cut_off,
    fault,
    start,
    world,
)
from twelvefold.core.budget import Limits
from twelvefold.core.events import (
    ApprovalAsked,
    Event,
    Failure,
    ModelReplied,
    OutcomeUnknown,
    ReplyEnd,
    RequestOptions,
    RunFinished,
    ToolError,
    ToolFailed,
    ToolSucceeded,
)
from twelvefold.core.ids import CallId
from twelvefold.core.ports import ModelReply, NullListener, ReadOnly, RunStatus, Transaction
from twelvefold.core.workflow import Workflow, tool
from twelvefold.engine.commands import take
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.perform import FAULT
from twelvefold.engine.services import Services
from twelvefold.engine.step import step
from twelvefold.errors import RequestError
from twelvefold.services.model.scripted import calls, says

LAMP = {"item": "a lamp"}


def cut_short(ended: ReplyEnd) -> ModelReply:
    items = (assistant("I will"), function_call("buy", "c1", '{"item": "a l'))
    return ModelReply(items, SPENT, "m-1", HASH, ended)


async def stepped(services: Services, times: int = 1) -> HeldRun:
    """A new run after so many steps."""
    held = await start(services)
    for _ in range(times):
        held = await step(services, held, SHOP, NullListener())
    return held


async def story(stage: Stage, held: HeldRun) -> list[Event]:
    """What the journal has of a run, which is what its driver has."""
    assert await stage.entries(held.run) == held.thread.entries
    return after_start(await stage.journal(held.run))


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_the_model_is_asked_with_the_conversation_and_the_open_tools(stage: Stage) -> None:
    asked = stage.process(says("Which one?"))
    heard = RecordingListener()

    held = await step(asked, await start(asked, "a lamp"), SHOP, heard)

    reply, _ = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert reply.items == tuple(says("Which one?"))
    assert heard.texts == ["Which one?"]
    assert [entry.event for entry in heard.entries] == [reply, RunFinished("completed")]


async def test_a_last_word_and_the_end_of_the_run_are_one_commit(stage: Stage) -> None:
    held = await stepped(stage.process(says("Good bye.")))

    assert kinds(await story(stage, held)) == ["ModelReplied", "RunFinished"]
    assert held.status == (await stage.record(held.run)).status == "completed"


@pytest.mark.parametrize("name", ["buy", "look", "weigh", "fly"])
async def test_a_reply_and_its_only_call_are_one_commit(stage: Stage, name: str) -> None:
    held = await stepped(stage.process(calls((name, LAMP))))

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolSucceeded | ToolFailed)
    assert (answer.call, answer.tool) == (CallId("2.0"), name)


@pytest.mark.parametrize("names", [("ship",), ("notify",), ("look", "look"), ("buy", "look")])
async def test_any_other_reply_is_in_the_journal_before_its_calls_run(
    stage: Stage, names: Sequence[str]
) -> None:
    held = await stepped(stage.process(calls(*((name, LAMP) for name in names))))

    assert kinds(await story(stage, held)) == ["ModelReplied"]
    assert (await stage.bought(), world.shipped, world.notified) == ([], [], [])


async def test_a_transactional_tool_commits_with_its_entry(stage: Stage) -> None:
    held = await stepped(stage.process(calls(("buy", LAMP))))

    assert (await story(stage, held))[-1] == ToolSucceeded(CallId("2.0"), "buy", "bought a lamp")
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize(
    ("item", "failure", "message"),
    [
        ("a dragon", "refused", "Error: there are no dragons; look at the lamps"),
        ("a curse", "fault", FAULT),
    ],
)
async def test_a_tool_that_says_no_leaves_nothing_behind_but_its_answer(
    stage: Stage, item: str, failure: Failure, message: str
) -> None:
    held = await stepped(stage.process(calls(("buy", {"item": item}))))

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolFailed)
    assert (answer.call, answer.failure, answer.message) == ("2.0", failure, message)
    assert await stage.bought() == []


class Base(DeclarativeBase):
    """What a user's own models derive from."""


class Bought(Base):
    __tablename__ = "bought"

    item: Mapped[str] = mapped_column(primary_key=True)
    who: Mapped[str | None]


@pytest.mark.parametrize(("who", "kept"), [("ann", ["a lamp"]), (None, [])])
async def test_what_an_orm_tool_leaves_to_be_flushed_is_part_of_its_call(
    stage: Stage, who: str | None, kept: list[str]
) -> None:
    @tool
    async def buy(tx: Transaction, item: str) -> str:
        """Buy it, with SQLAlchemy."""
        (await tx.orm_session()).add(Bought(item=item, who=who))
        return "bought"

    workflow = Workflow("shop", "Sell.", (buy,))
    services = stage.process(calls(("buy", LAMP)), workflow=workflow)

    held = await step(services, await start(services), workflow, NullListener())

    answer = (await story(stage, held))[-1]
    assert isinstance(answer, ToolSucceeded if kept else ToolFailed)
    assert answer.call == CallId("2.0")
    assert await stage.bought() == kept


async def test_what_a_tool_leaves_that_cannot_be_committed_is_its_fault(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    async def adopt(tx: Transaction) -> str:
        """Adopt a child, whose parent is looked for only at the commit."""
        await tx.execute("insert into children (parent) values (7)")
        return "adopted"

    workflow = Workflow("shop", "Sell.", (adopt,))
    services = stage.process(calls(("adopt", {})), workflow=workflow)
    await services.store.run_script(
        "create table parents (id integer primary key);"
        "create table children (parent integer references parents deferrable initially deferred);"
    )

    held = await step(services, await start(services), workflow, NullListener())

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    raised = ToolError("StoreRefused", "FOREIGN KEY constraint failed (SQLite)")
    assert fault(answer) == ("2.0", "adopt", raised)
    assert [line.message for line in caplog.records] == ["tool_raised"]
    assert held.status == "running"


async def test_calls_with_an_effect_run_one_a_step_in_their_order(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP), ("ship", LAMP), ("notify", LAMP)))

    held = await stepped(services, times=4)

    _, *answers = await story(stage, held)
    assert answers == [
        ToolSucceeded(CallId("2.0"), "buy", "bought a lamp"),
        ToolSucceeded(CallId("2.1"), "ship", "shipped a lamp"),
        ToolSucceeded(CallId("2.2"), "notify", "told a lamp"),
    ]
    assert await stage.bought() == world.shipped == ["a lamp"]
    assert world.notified == [(f"{held.run.thread}:2.2", "a lamp")]


async def test_calls_that_leave_no_trace_are_one_step(stage: Stage) -> None:
    services = stage.process(calls(("look", LAMP), ("fly", LAMP), ("weigh", LAMP)))

    held = await stepped(services, times=2)

    _, *answers = await story(stage, held)
    assert answers == [
        ToolSucceeded(CallId("2.0"), "look", '{"item":"a lamp","sold":0}'),
        ToolFailed(
            CallId("2.1"),
            "fly",
            "unknown_tool",
            "Error: there is no tool 'fly'; there are look, weigh, buy, ship, notify, refund",
        ),
        ToolSucceeded(CallId("2.2"), "weigh", "6"),
    ]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_tool_that_only_reads_cannot_write(stage: Stage, times: int) -> None:
    @tool
    async def steal(db: ReadOnly) -> object:
        """Take it."""
        return await db.fetch_all("delete from bought")

    workflow = Workflow("shop", "Sell.", (buy, steal))
    services = stage.process(calls(("buy", LAMP)), calls(*[("steal", {})] * times))
    held = await start(services)
    for _ in range(1 + times):
        held = await step(services, held, workflow, NullListener())

    message = "DELETE is not a read; a tool that writes takes a Transaction"
    raised = ToolError("StoreRefused", message)
    assert fault((await story(stage, held))[-1]) == (f"4.{times - 1}", "steal", raised)
    assert await stage.bought() == ["a lamp"]


@pytest.mark.parametrize("ended", ["max_output_tokens", "content_filter"])
async def test_a_reply_that_was_cut_short_runs_none_of_its_calls(
    stage: Stage, ended: ReplyEnd
) -> None:
    held = await stepped(stage.process(cut_short(ended)))

    reply, end = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert end == RunFinished("incomplete", ended)
    assert await stage.bought() == []


async def test_the_same_call_id_twice_in_a_reply_is_done_once(stage: Stage) -> None:
    twice = [function_call("buy", "c1", '{"item":"a lamp"}')] * 2

    held = await stepped(stage.process(twice), times=3)

    _, first, second = await story(stage, held)
    assert isinstance(first, ToolSucceeded)
    assert isinstance(second, ToolFailed)
    assert (second.call, second.failure) == (CallId("2.1"), "repeated")
    assert await stage.bought() == ["a lamp"]


async def test_the_same_call_id_in_a_later_reply_is_another_call(stage: Stage) -> None:
    again = [function_call("buy", "c1", '{"item":"a lamp"}')]

    held = await stepped(stage.process(again, again), times=2)

    assert kinds(await story(stage, held)) == ["ModelReplied", "ToolSucceeded"] * 2
    assert await stage.bought() == ["a lamp", "a lamp"]


async def test_a_call_that_a_person_must_allow_rests_the_run(stage: Stage) -> None:
    held = await stepped(stage.process(calls(("refund", LAMP))))

    assert (await story(stage, held))[-1] == ApprovalAsked(CallId("2.0"), "refund")
    record = await stage.record(held.run)
    assert (held.status, record.status, record.leased) == ("waiting", "waiting", False)


async def test_a_run_that_waits_goes_on_waiting(stage: Stage) -> None:
    services = stage.process(calls(("refund", LAMP)))
    before = await stepped(services)
    claimed = await services.store.claim(before.run, 20.0)
    assert claimed is not None

    held = services.hold(claimed[0], services.monotonic())
    after = await step(services, HeldRun(before.run, before.thread, held), SHOP, NullListener())

    record = await stage.record(before.run)
    assert (after.status, record.status, record.leased) == ("waiting", "waiting", False)
    assert after.thread == before.thread


async def test_a_run_that_waits_lets_go_once_the_database_is_back(stage: Stage) -> None:
    trouble = Trouble(cut_off, places=["before a release", "after a release"], times=3)
    services = stage.process(calls(("refund", LAMP)), trouble=trouble)
    before = await stepped(services)
    claimed = await services.store.claim(before.run, 20.0)
    assert claimed is not None

    held = services.hold(claimed[0], services.monotonic())
    after = await step(services, HeldRun(before.run, before.thread, held), SHOP, NullListener())

    assert after.status == (await stage.record(before.run)).status == "waiting"


async def test_an_unsafe_call_that_takes_too_long_rests_the_run(stage: Stage) -> None:
    @tool(effect="unsafe", timeout_s=0.01)
    async def ship(item: str) -> None:
        """Ship it, slowly."""
        world.shipped.append(item)
        await asyncio.sleep(20)

    workflow = Workflow("shop", "Sell.", (ship,))
    services = stage.process(calls(("ship", LAMP)), workflow=workflow)
    held = await step(services, await start(services), workflow, NullListener())

    held = await step(services, held, workflow, NullListener())

    assert (await story(stage, held))[-1] == OutcomeUnknown(CallId("2.0"), "ship")
    assert held.status == (await stage.record(held.run)).status == "waiting"


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        (Limits(max_steps=0), "incomplete", "max_steps"),
        (Limits(run_tokens=0), "incomplete", "token_budget"),
    ],
)
async def test_a_run_that_may_go_no_further_ends(
    stage: Stage, limits: Limits, status: RunStatus, reason: str
) -> None:
    held = await stepped(stage.process(limits=limits))

    assert (held.status, held.thread.reason) == (status, reason)


async def test_a_conversation_over_the_window_is_compacted_and_the_log_says_so(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    @tool(effect="pure")
    async def read() -> str:
        """Read a long text."""
        return "so it is written " * 100

    workflow = Workflow("shop", "Sell.", (read,))
    services = stage.process(
        calls(("read", {})),
        calls(("read", {})),
        says("Done."),
        workflow=workflow,
        limits=Limits(context_tokens=2000),
    )
    held = await start(services, "a lamp" * 400)

    while held.status == "running":
        held = await step(services, held, workflow, NullListener())

    (line,) = [line for line in caplog.records if line.message == "context_compacted"]
    left_out = {"results_left_out": 1, "turns_left_out": 0}
    assert vars(line)["fields"] == left_out
    assert held.status == "completed"


async def test_a_turn_over_the_window_is_refused_and_nothing_is_written(stage: Stage) -> None:
    services = stage.process(says("Hello."), limits=Limits(context_tokens=1000))
    held = await start(services, "x" * 5000)

    with pytest.raises(RequestError, match="shorten the input, or set OPENAI_CONTEXT_TOKENS"):
        await step(services, held, SHOP, NullListener())

    assert await story(stage, held) == []


async def test_a_later_turn_is_asked_with_what_was_said_before(stage: Stage) -> None:
    services = stage.process(calls(("look", LAMP)), says("There are two."), says("Good bye."))
    held = await start(services, "lamps?")
    while held.status == "running":
        held = await step(services, held, SHOP, NullListener())

    later = await start(services, "thanks", thread=held.run.thread)
    await step(services, later, SHOP, NullListener())

    (request,) = stage.requests[-1:]
    call = request.items[1]
    assert request.items == (
        user("lamps?"),
        call,
        output(call["call_id"], '{"item":"a lamp","sold":0}'),
        *says("There are two."),
        user("thanks"),
    )
    assert request.instructions == "Sell."
    assert [spec.name for spec in request.tools] == [one.name for one in SHOP.tools]


# --- what the caller wants


WEATHER = own_tool("get_weather")


async def test_a_run_that_calls_its_callers_tool_is_over_until_the_caller_goes_on(
    stage: Stage,
) -> None:
    services = stage.process(calls(("get_weather", {})), says("Sunny."))
    held = await start(services, options=RequestOptions(tools=(WEATHER,)))

    over = await step(services, held, SHOP, NullListener())

    assert kinds(await story(stage, over)) == ["ModelReplied", "RunFinished"]
    assert over.status == "completed"
    assert stage.requests[0].tools[-1].name == "get_weather"


async def test_the_servers_calls_of_a_reply_are_run_before_the_caller_gets_its_own(
    stage: Stage,
) -> None:
    services = stage.process(calls(("get_weather", {}), ("buy", LAMP)))
    held = await start(services, options=RequestOptions(tools=(WEATHER,)))

    for _ in range(3):
        held = await step(services, held, SHOP, NullListener())

    assert kinds(await story(stage, held)) == ["ModelReplied", "ToolSucceeded", "RunFinished"]
    assert await stage.bought() == ["a lamp"]


async def test_a_streamed_reply_and_its_only_call_are_one_commit_too(stage: Stage) -> None:
    services = stage.process(says("I buy it.") + calls(("buy", LAMP)))

    held = await start(services, options=RequestOptions(stream=True))
    held = await step(services, held, SHOP, NullListener())

    reply, answer = await story(stage, held)
    assert isinstance(reply, ModelReplied)
    assert isinstance(answer, ToolSucceeded)
    assert (reply.first_delta, reply.cuts) == (1, (len("I buy it."),))
    heard = await services.store.follow(held.run.thread, after=0, deltas_after=(0, 0))
    assert heard.deltas == ()


async def test_whoever_goes_on_with_a_run_is_careful_until_its_first_commit(stage: Stage) -> None:
    services = stage.process(calls(("buy", LAMP)), says("There."))
    run = (await start(services)).run
    await stage.let_leases_run_out()

    taken = await take(services, run)
    after = await step(services, taken, SHOP, NullListener())

    assert (taken.claimed, after.claimed) == (True, False)
