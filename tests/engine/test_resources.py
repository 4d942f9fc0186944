"""Resources of workflows: opened once, handed to tools by type, closed at the end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from msgspec import structs

from tests.builders import open_call
from tests.engine.leases import until
from tests.engine.stage import LIMITS, Stage, drive_new, resume, start
from tests.loop_clock import LoopClock
from tests.waiting import HANG_S
from twelvefold.backoff import Backoff
from twelvefold.core import (
    CallKey,
    NullListener,
    ReadOnly,
    RejectedCall,
    Resource,
    SyncTransaction,
    Tool,
    ToolSucceeded,
    Transaction,
    ValidCall,
    Workflow,
    tool,
)
from twelvefold.engine import Preparation, Resources, Services
from twelvefold.engine.drive import drive
from twelvefold.engine.resources import ResourceTimings
from twelvefold.engine.retry import RetryPolicy
from twelvefold.errors import ResourceUnavailable, WorkflowError
from twelvefold.services.model.scripted import calls, says

RETRY = RetryPolicy(Backoff(0.001, 0.002), timeout_s=HANG_S)
TIMINGS = ResourceTimings(open_s=HANG_S, retry=RETRY, close_s=HANG_S)
SOON = ResourceTimings(open_s=0.05, retry=structs.replace(RETRY, timeout_s=0.05), close_s=0.05)
"""For what never succeeds."""


class Client:
    """An HTTP client, for example."""

    def __init__(self, name: str = "client") -> None:
        self.name = name


class SpecialClient(Client):
    """A subclass of another resource."""


class Pool:
    """A pool of connections, for example."""


@dataclass
class Opener:
    """A context manager function that records its use; the first `failures` openings fail."""

    provides: object = field(default_factory=Client)
    failures: int = 0
    name: str = "resources"
    log: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[object]:
        self.log.append(f"open {self.name}")
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("a secret")
        try:
            yield self.provides
        finally:
            self.log.append(f"close {self.name}")


@tool(effect="pure")
async def ask(client: Resource[Client], what: str) -> str:
    """Ask."""
    return f"{client.name}: {what}"


@tool
async def charge(client: Resource[Client], key: CallKey) -> str:
    """Charge."""
    return client.name


@tool
async def buy(tx: Transaction, client: Resource[Client]) -> str:
    """Buy."""
    await tx.execute("insert into bought (item, who) values (:item, 'ann')", item=client.name)
    return client.name


@tool
def order(tx: SyncTransaction, client: Resource[Client]) -> str:
    """Order, in a thread."""
    tx.execute("insert into bought (item, who) values (:item, 'ann')", item=client.name)
    return client.name


@tool
async def look(db: ReadOnly, client: Resource[Client]) -> str:
    """Look."""
    return client.name


@tool(effect="unsafe")
def print_label(client: Resource[Client]) -> str:
    """Print a label, in a thread."""
    return f"{client.name} {threading.current_thread().name}"


@tool(effect="pure")
async def weigh() -> int:
    """Weigh."""
    return 1


def shop(opener: Callable[[], Any] | None, *tools: Tool) -> Workflow:
    return Workflow("shop", "Sell.", tools or (ask,), resources=opener)


def call_of(one: Tool) -> ValidCall:
    return ValidCall(open_call(one.name), one, {})


async def handed_in(resources: Resources, workflow: Workflow) -> list[object]:
    """Return the resources of one call of each tool of the workflow."""
    found = await resources.hand_in(workflow, [call_of(one) for one in workflow.tools])
    valid = [call for call in found if isinstance(call, ValidCall)]
    return [value for call in valid for value in call.resources.values()]


async def run(stage: Stage, resources: Resources, workflow: Workflow, *names: str) -> Any:
    script = [calls((name, {"what": "?"} if name == "ask" else {})) for name in names]
    services = stage.process(*script, says("Done."), workflow=workflow)
    return await drive_new(replace(services, resources=resources))


async def test_every_kind_of_tool_gets_the_resource(stage: Stage) -> None:
    opener, resources = Opener(Client("acme")), Resources()
    tools = (ask, charge, buy, order, look, print_label)

    outcome = await run(stage, resources, shop(opener, *tools), *(one.name for one in tools))
    events = await stage.journal(outcome.run)
    await resources.close()

    found = [event.result for event in events if isinstance(event, ToolSucceeded)]
    assert found == ["acme: ?", "acme", "acme", "acme", "acme", "acme tool print_label"]
    assert await stage.bought() == ["acme", "acme"]
    assert opener.log == ["open resources", "close resources"]


async def test_calls_of_one_reply_get_the_resource_and_rejected_ones_stay(stage: Stage) -> None:
    workflow, resources = shop(Opener(), ask, weigh), Resources()
    rejected = RejectedCall("unknown_tool", "fly", "{}", ())

    found = await resources.hand_in(workflow, [call_of(weigh), rejected, call_of(ask)])
    await resources.close()

    assert found[:2] == (call_of(weigh), rejected)
    assert isinstance(found[2], ValidCall)
    assert isinstance(found[2].resources["client"], Client)


async def test_a_resource_is_opened_once_under_concurrency() -> None:
    opener, resources = Opener(), Resources()
    workflow = shop(opener)

    found = await asyncio.gather(*(handed_in(resources, workflow) for _ in range(20)))
    await resources.close()

    assert found == [[opener.provides]] * 20
    assert opener.log == ["open resources", "close resources"]


async def test_a_caller_that_is_cancelled_does_not_stop_the_opening() -> None:
    opener, resources = Opener(), Resources()
    impatient = asyncio.ensure_future(handed_in(resources, shop(opener)))
    await asyncio.sleep(0)

    impatient.cancel()
    found = await handed_in(resources, shop(opener))
    await resources.close()

    assert impatient.cancelled()
    assert (found, opener.log) == ([opener.provides], ["open resources", "close resources"])


async def test_nothing_is_opened_that_no_call_needs(stage: Stage) -> None:
    opener, resources = Opener(), Resources()

    await run(stage, resources, shop(opener, weigh, ask), "weigh")
    await resources.close()

    assert opener.log == []


async def test_each_workflow_has_its_own_unless_the_function_is_the_same() -> None:
    log: list[str] = []
    first, second = Opener(name="first", log=log), Opener(name="second", log=log)
    resources = Resources()
    workflows = [shop(first), replace(shop(first), name="other"), shop(second)]

    found = [await handed_in(resources, one) for one in workflows]
    await resources.close()

    assert found == [[first.provides], [first.provides], [second.provides]]
    assert log == ["open first", "open second", "close second", "close first"]


async def test_resources_are_found_by_type() -> None:
    @tool(effect="pure")
    async def both(
        client: Resource[Client], special: Resource[SpecialClient], pool: "Resource[Pool]"
    ) -> str:
        """Use all."""
        return ""

    client, special, pool = Client(), SpecialClient(), Pool()
    resources = Resources()

    found = await handed_in(resources, shop(Opener((pool, special, client)), both))
    of_subclass = await handed_in(resources, shop(Opener((pool, special)), ask))
    await resources.close()

    assert found == [client, special, pool]
    assert of_subclass == [special]


@pytest.mark.parametrize(
    ("provided", "problem"),
    [
        (Pool(), r"the resources do not provide one \(they are: Pool\)"),
        ((), r"the resources do not provide one \(they are: nothing\)"),
        ((Client(), Client()), r"the resources provide 2 of them \(they are: Client, Client\)"),
        ((SpecialClient(), SpecialClient(), Pool()), "the resources provide 2 of them"),
    ],
)
async def test_a_missing_type_is_an_error_that_names_tool_and_type(
    provided: object, problem: str
) -> None:
    resources = Resources(timings=SOON)

    with pytest.raises(
        ResourceUnavailable, match=f"workflow shop: tool ask takes a Resource of Client; {problem}"
    ):
        await handed_in(resources, shop(Opener(provided)))
    await resources.close()


async def test_a_missing_type_is_logged_when_the_process_starts(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    resources, opener = Resources(timings=SOON), Opener(Pool())
    services = replace(stage.process(workflow=shop(opener)), resources=resources)

    await Preparation(services).ready()
    await until(lambda: caplog.records)
    await resources.close()

    assert [one.message for one in caplog.records] == ["resource_missing"]
    assert opener.log == ["open resources", "close resources"]


async def test_a_failure_to_open_at_the_start_is_logged_once_and_hinders_no_run(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    resources, opener = Resources(timings=TIMINGS), Opener(failures=1)
    services = replace(stage.process(workflow=shop(opener)), resources=resources)

    await Preparation(services).ready()
    await until(lambda: caplog.records)
    found = await handed_in(resources, shop(opener))
    await resources.close()

    assert [one.message for one in caplog.records] == ["resources_not_opened"]
    assert found == [opener.provides]


async def test_resources_are_opened_when_the_process_starts(stage: Stage) -> None:
    resources, opener = Resources(), Opener()
    services = replace(stage.process(workflow=shop(opener)), resources=resources)

    await Preparation(services).ready()
    await until(lambda: resources.are_open(shop(opener), [call_of(ask)]))
    await resources.close()

    assert opener.log == ["open resources", "close resources"]


async def test_a_workflow_without_resources_opens_nothing_at_the_start(stage: Stage) -> None:
    opener = Opener()
    services = stage.process(workflow=shop(opener, weigh))

    await Preparation(services).ready()
    await asyncio.sleep(0.01)

    assert opener.log == []


def test_a_tool_whose_workflow_has_no_resources_is_an_error_at_the_start() -> None:
    message = "workflow shop: tool ask takes a Resource of Client, but the workflow has no"
    with pytest.raises(WorkflowError, match=message):
        Resources().check([shop(None, weigh), shop(None, weigh, ask)])

    Resources({Client: Client()}).check([shop(None, ask), shop(Opener(), ask)])
    Resources().check([shop(None, weigh), shop(Opener(), ask)])


@pytest.mark.parametrize(
    ("replaced", "name"), [(SpecialClient, "SpecialClient"), ("Client", "'Client'"), (Pool, "Pool")]
)
def test_a_replacement_that_no_tool_takes_is_an_error_at_the_start(
    replaced: Any, name: str
) -> None:
    resources = Resources({Client: Client(), replaced: Client()})

    message = f"resources replaces {name}, which no tool takes as a Resource; they take Client$"
    with pytest.raises(WorkflowError, match=message):
        resources.check([shop(Opener(), weigh, ask), shop(Opener(), buy)])


def test_without_tools_that_take_resources_none_can_be_replaced() -> None:
    with pytest.raises(WorkflowError, match=r"replaces Client, .*; they take none$"):
        Resources({Client: Client()}).check([shop(None, weigh)])


async def test_replacements_are_handed_out_and_nothing_is_opened() -> None:
    opener, fake = Opener(), Client("fake")
    resources = Resources({Client: fake})

    found = await handed_in(resources, shop(opener))
    without = await handed_in(resources, shop(None))
    names = await resources.open(shop(opener))
    await resources.close()

    assert (found, without, names, opener.log) == ([fake], [fake], (), [])


async def test_one_replacement_beside_an_opened_resource() -> None:
    @tool(effect="pure")
    async def both(client: Resource[Client], pool: Resource[Pool]) -> str:
        """Use both."""
        return ""

    fake, pool = Client("fake"), Pool()
    resources = Resources({Client: fake})

    found = await handed_in(resources, shop(Opener((Client(), pool)), both))
    await resources.close()

    assert found == [fake, pool]


# --- failures -----------------------------------------------------------------------------------


async def test_opening_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    opener, resources = Opener(failures=2), Resources(timings=TIMINGS)

    found = await handed_in(resources, shop(opener))
    await resources.close()

    assert found == [opener.provides]
    assert opener.log == [*["open resources"] * 3, "close resources"]
    assert [one.message for one in caplog.records] == ["resources_not_opened"] * 2


async def test_after_some_time_the_error_has_the_name_of_the_workflow(
    loop_clock: LoopClock,
) -> None:
    opener, resources = Opener(failures=1_000_000), Resources(timings=TIMINGS)
    call = asyncio.ensure_future(handed_in(resources, shop(opener)))
    opening = asyncio.ensure_future(resources.open(shop(opener)))
    await until(lambda: len(opener.log) > 2)

    loop_clock.let_pass(RETRY.timeout_s)
    with pytest.raises(ResourceUnavailable) as raised:
        await call
    with pytest.raises(ResourceUnavailable):
        await opening
    await resources.close()

    message = (
        "workflow shop: its resources cannot be opened: ConnectionError; the log has the place"
    )
    assert str(raised.value) == raised.value.log_text == message


@asynccontextmanager
async def never_opened() -> AsyncIterator[Client]:
    await asyncio.Event().wait()
    yield Client()


def no_context_manager() -> Any:
    return Client()


def raising() -> AbstractAsyncContextManager[Client]:
    raise KeyError("URL")


@pytest.mark.parametrize(
    ("opener", "error"),
    [(never_opened, "TimeoutError"), (no_context_manager, "TypeError"), (raising, "KeyError")],
)
async def test_whatever_keeps_a_resource_from_opening_is_named(
    opener: Callable[[], Any], error: str
) -> None:
    resources = Resources(timings=SOON)

    with pytest.raises(ResourceUnavailable, match=f"cannot be opened: {error};"):
        await resources.open(shop(opener))
    await resources.close()


async def test_an_opening_that_cancels_itself_leaves_no_caller_waiting() -> None:
    def cancelled() -> AbstractAsyncContextManager[Client]:
        raise asyncio.CancelledError

    resources = Resources(timings=SOON)

    with pytest.raises(ResourceUnavailable, match="cannot be opened: cancelled"):
        await resources.open(shop(cancelled))
    await resources.close()


async def test_a_run_whose_resource_cannot_be_opened_is_given_back_with_its_reply(
    stage: Stage,
) -> None:
    opener, resources = Opener(failures=1_000_000), Resources(timings=SOON)

    outcome = await run(stage, resources, shop(opener, buy), "buy")
    opener.failures = 0
    services = stage.process(
        calls(("buy", {})), says("Done."), workflow=shop(opener, buy), limits=LIMITS
    )
    await resume(replace(services, resources=resources), outcome.run)
    await resources.close()

    assert outcome.status == "queued"
    assert "its resources cannot be opened: ConnectionError" in outcome.fault
    assert len(stage.requests) == 2  # the reply with the call was not requested again
    assert await stage.bought() == ["client"]


async def test_a_run_that_a_caller_waits_for_fails_with_the_error(stage: Stage) -> None:
    resources = Resources(timings=SOON)
    services = stage.process(calls(("buy", {})), workflow=shop(Opener(Pool()), buy))
    services = replace(services, resources=resources)

    outcome = await drive(services, await start(services), NullListener(), fail_on_fault=True)
    await resources.close()

    assert (outcome.status, outcome.thread.reason) == ("failed", "unavailable")
    assert "tool buy takes a Resource of Client" in outcome.error


async def test_a_reply_and_its_rows_are_one_commit_once_the_resource_is_open(stage: Stage) -> None:
    resources, workflow = Resources(), shop(Opener(), buy)
    await resources.open(workflow)
    commits: list[int] = []
    services = replace(
        stage.process(calls(("buy", {})), says("Done."), workflow=workflow), resources=resources
    )
    append = services.store.append

    def counted(change: Any) -> Any:
        commits.append(change.adds)
        return append(change)

    services.store.append = counted  # type: ignore[method-assign]
    await drive_new(services)
    await resources.close()

    assert commits == [2, 2]


async def test_no_connection_is_held_while_a_resource_is_opened(stage: Stage) -> None:
    services_of: list[Services] = []

    @asynccontextmanager
    async def open_with_database() -> AsyncIterator[Client]:
        async with services_of[0].store.write() as tx:  # waits for any other transaction
            await tx.execute("insert into bought (item, who) values ('opened', 'ann')")
        yield Client()

    resources = Resources()
    workflow = shop(open_with_database, buy)
    services_of.append(stage.process(calls(("buy", {})), says("Done."), workflow=workflow))

    outcome = await drive_new(replace(services_of[0], resources=resources))
    await resources.close()

    assert outcome.status == "completed"
    assert await stage.bought() == ["client", "opened"]


# --- the end ------------------------------------------------------------------------------------


async def test_a_resource_is_left_in_the_task_that_entered_it() -> None:
    tasks: list[object] = []

    @asynccontextmanager
    async def with_a_group() -> AsyncIterator[Client]:
        async with asyncio.TaskGroup():
            tasks.append(asyncio.current_task())
            yield Client()
            tasks.append(asyncio.current_task())

    resources = Resources()
    await resources.open(shop(with_a_group))
    await resources.close()

    assert len(set(tasks)) == 1
    assert tasks[0] is not asyncio.current_task()


async def test_a_resource_that_has_ended_by_itself_is_opened_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened: list[asyncio.Event] = []

    @asynccontextmanager
    async def fragile() -> AsyncIterator[Client]:
        broken = asyncio.Event()
        opened.append(broken)

        async def listen() -> None:
            await broken.wait()
            raise ConnectionError("gone")

        async with asyncio.TaskGroup() as group:
            task = group.create_task(listen())
            yield Client()
            task.cancel()

    resources = Resources()
    await resources.open(shop(fragile))
    opened[0].set()
    await until(lambda: caplog.records)
    await resources.open(shop(fragile))
    await resources.close()

    assert (len(opened), caplog.records[0].message) == (2, "resources_failed")


async def test_an_error_while_closing_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @asynccontextmanager
    async def bad() -> AsyncIterator[Client]:
        yield Client()
        raise OSError("no")

    opener, resources = Opener(), Resources()
    await resources.open(shop(opener))
    await resources.open(shop(bad))
    await resources.close()

    assert opener.log == ["open resources", "close resources"]
    assert [one.message for one in caplog.records] == ["resources_failed"]


async def test_a_resource_that_does_not_close_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[Client]:
        try:
            yield Client()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    resources = Resources(timings=SOON)
    await resources.open(shop(slow))
    await resources.close()

    assert ended == ["cancelled"]
    assert [one.message for one in caplog.records] == ["resources_not_closed"]


async def test_closing_cancels_an_opening_and_refuses_further_calls() -> None:
    resources = Resources()
    waiting = asyncio.ensure_future(handed_in(resources, shop(never_opened)))
    await asyncio.sleep(0.01)

    await resources.close()

    with pytest.raises(ResourceUnavailable, match="cannot be opened: the process stops"):
        await waiting
    with pytest.raises(ResourceUnavailable, match="workflow shop: its resources are closed"):
        await handed_in(resources, shop(Opener()))


async def test_closing_before_an_opening_has_begun_refuses_its_callers() -> None:
    opener, resources = Opener(), Resources()
    waiting = asyncio.ensure_future(resources.open(shop(opener)))
    closing = asyncio.ensure_future(resources.close())  # runs before the task that opens

    async with asyncio.timeout(HANG_S):
        with pytest.raises(ResourceUnavailable, match="cannot be opened: the process stops"):
            await waiting
    await closing

    assert opener.log == []


async def test_resources_are_opened_outside_the_context_of_a_run() -> None:
    bound: ContextVar[str] = ContextVar("bound", default="process")
    seen: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncIterator[Client]:
        seen.append(bound.get())
        yield Client()

    resources = Resources()
    bound.set("a run")
    await resources.open(shop(opener))
    await resources.close()

    assert seen == ["process"]


async def test_a_call_of_a_workflow_without_resources_is_an_error() -> None:
    with pytest.raises(ResourceUnavailable, match="its resources do not exist"):
        await handed_in(Resources(timings=SOON), shop(None))


def test_a_resource_is_hidden_from_the_model() -> None:
    assert list(ask.spec.parameters["properties"]) == ["what"]
    assert (ask.resources, ask.handed_in) == ({"client": Client}, {})


async def test_an_opener_that_exits_does_not_end_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def exiting() -> AbstractAsyncContextManager[Client]:
        raise SystemExit(2)

    resources = Resources(timings=SOON)

    with pytest.raises(ResourceUnavailable, match="cannot be opened: SystemExit;"):
        await resources.open(shop(exiting))
    await resources.close()

    assert [one.message for one in caplog.records] == ["resources_not_opened"]


async def test_a_preparation_that_ends_after_the_process_stops_opens_nothing(stage: Stage) -> None:
    resources, opener = Resources(), Opener()
    services = replace(stage.process(workflow=shop(opener)), resources=resources)
    await resources.close()

    await Preparation(services).ready()

    assert opener.log == []
