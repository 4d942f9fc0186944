"""Starts the runs of other workflows that a call asks for, and reads their answers.

The children are written in the transaction of their parent's step. Their ids are chosen before it,
so that a repeated transaction starts the same runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from msgspec import Struct

from twelvefold.core import (
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    Ancestry,
    Call,
    CallId,
    ChildAnswer,
    ChildLimits,
    ChildrenStarted,
    ChildTool,
    Event,
    Item,
    Join,
    ModelReplied,
    NewRun,
    RequestOptions,
    RunId,
    RunStarted,
    StepTransaction,
    Task,
    Thread,
    ToolFailed,
    Usage,
    ValidCall,
    Workflow,
    fold,
    share_of,
)
from twelvefold.core.child_tool import INPUT
from twelvefold.core.children import awaited_runs
from twelvefold.core.output import reply_text
from twelvefold.engine.commands.start import check_storable
from twelvefold.engine.fallback import run_limits
from twelvefold.engine.held_run import NO_USAGE, CallOutcome, HeldRun, entry_of
from twelvefold.engine.lease import new_lease_token
from twelvefold.engine.new_children import NewChild, start_children
from twelvefold.engine.perform import FanOutCall, RollbackTool, run_transactional
from twelvefold.engine.services import Services
from twelvefold.engine.traces import decision_of
from twelvefold.errors import NotFound, RequestError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


class ChildrenRefused(Exception):
    """The runs cannot be started; the text is the reason, for the model."""


class JoinRule(Struct, frozen=True):
    """How a call waits for its runs, as the entry ChildrenStarted has it."""

    join: Join = ""
    quorum: int = 0
    hand_off: bool = False


@dataclass(slots=True)
class Planner:
    """Plans the children of the calls of one step.

    `thread` is that of the run with the reply that has the calls. `below_root` counts the runs
    below the root of the family, with those that were planned here.
    """

    services: Services
    held: HeldRun
    thread: Thread
    workflow: Workflow
    below_root: int
    children: list[NewChild] = field(default_factory=list)

    def call_workflow(self, call: ValidCall, tool: ChildTool) -> ChildrenStarted | ToolFailed:
        """Plan the run of a workflow that is a tool; return the entry of the call."""
        task = Task(tool.child.name, str(call.arguments[INPUT]))
        return self._plan(call, (task,), JoinRule(hand_off=tool.hand_off))

    def fan_out(self, outcome: FanOutCall) -> ChildrenStarted | ToolFailed:
        """Plan the runs that a tool has returned; return the entry of the call."""
        rule = JoinRule(outcome.returned.join_name, outcome.returned.quorum)
        return self._plan(outcome.call, outcome.returned.tasks, rule)

    def entries_of(self, outcomes: Sequence[CallOutcome | FanOutCall]) -> list[Event]:
        """Return the entries of calls; the runs that they start are added to the plan."""
        return [self.fan_out(one) if isinstance(one, FanOutCall) else one for one in outcomes]

    async def run_in_step(
        self,
        call: ValidCall,
        replies: Sequence[ModelReplied],
        children: list[NewChild],
        tx: StepTransaction,
    ) -> Sequence[Event]:
        """Call a transactional tool, and write the runs that it starts; return the step's entries.

        `children` has these runs afterwards. Raises RollbackTool if the tool fails.
        """
        lease, principal = self.held.held_lease, self.held.thread.principal
        outcome = await run_transactional(self.services, lease, principal, call, tx)
        fresh = replace(self, children=[])  # the transaction may be repeated
        [event] = fresh.entries_of([outcome])
        if isinstance(event, ToolFailed):
            raise RollbackTool(event)
        children[:] = fresh.children
        start_children(tx, children)
        return (*replies, event)

    def _plan(
        self, call: ValidCall, tasks: Sequence[Task], join: JoinRule
    ) -> ChildrenStarted | ToolFailed:
        try:
            limits = self._check(call.call, tasks)
            planned = [self._new_child(call.call.id, task, limits) for task in tasks]
        except ChildrenRefused as refused:
            return ToolFailed(call.call.id, call.tool.name, "child", f"Error: {refused}")
        self.children += planned
        self.below_root += len(planned)
        runs = tuple(str(child.run.run) for child in planned)
        started = ChildrenStarted(
            call.call.id, call.tool.name, runs, join.join, join.quorum, join.hand_off, limits
        )
        # What these runs may use is not left for those of the next call.
        self.thread = self.thread.with_children(started)
        return started

    def _check(self, call: Call, tasks: Sequence[Task]) -> ChildLimits:
        """Return the limits of each child. Raises ChildrenRefused."""
        limits = self.services.limits
        for task in tasks:
            if task.workflow not in self.services.workflows:
                log.error("workflow_unknown", workflow=task.workflow)
                raise ChildrenRefused(f"there is no workflow {task.workflow!r}")
            if not task.input.strip():
                raise ChildrenRefused(f"{task.workflow} needs an input")
        if self._depth > limits.max_depth:
            raise ChildrenRefused(
                f"workflows call each other at most {limits.max_depth} deep; answer without this"
            )
        if self.below_root + len(tasks) > limits.max_children:
            raise ChildrenRefused(
                f"a request may start {limits.max_children} runs, and {self.below_root} were "
                "started; answer with what there is"
            )
        return self._share(call, len(tasks))

    def _share(self, call: Call, runs: int) -> ChildLimits:
        held = self.held
        left_s = max(held.drive_until - self.services.monotonic(), 0.001)
        limits = run_limits(self.services, self.workflow, self.thread.options)
        share = share_of(self.thread, limits, runs, self._waiting(call), left_s)
        if 0 in (share.tokens, share.micro_usd):
            raise ChildrenRefused("the budget of this run is used up; answer with what there is")
        return share

    def _waiting(self, call: Call) -> int:
        """Return how many other calls of the reply may start runs and have not yet."""
        return sum(
            self._starts_runs(one) and one.wait is None and one.id != call.id
            for one in self.thread.pending
        )

    def _starts_runs(self, call: Call) -> bool:
        tool = self.workflow.by_name.get(call.tool)
        return tool is not None and (tool.effect == "workflow" or tool.fans_out)

    @property
    def _depth(self) -> int:
        """The depth of the children of this run."""
        ancestry = self.thread.ancestry
        return ancestry.depth + 1 if ancestry else 1

    def _new_child(self, call: CallId, task: Task, limits: ChildLimits) -> NewChild:
        services, thread, parent = self.services, self.thread, self.held.run
        run = RunId(services.ids.thread_in_family(parent.thread), 1)
        started = RunStarted(
            (_user_message(task.input),),
            thread.principal,
            task.workflow,
            services.release,
            _options_of(thread),
            str(parent),
            call,
            self._ancestry(limits),
            thread.key_id,
            thread.allowed_tools,
            caller_of(thread),
            decision_of(thread),
        )
        try:
            check_storable(started)
        except RequestError as error:
            raise ChildrenRefused(f"{task.workflow} cannot be called: {error}") from error
        new = NewRun(
            run,
            new_lease_token(),
            0,
            thread.principal,
            task.workflow,
            services.release,
            True,
            key_id=thread.key_id,
        )
        return NewChild(new, started)

    def _ancestry(self, limits: ChildLimits) -> Ancestry:
        """Return what is above the children of this run."""
        thread = self.thread
        above, root = thread.ancestry, str(root_of(self.held.run, thread))
        root_workflow = (above.root_workflow or above.workflow) if above else ""
        return Ancestry(root, self._depth, thread.workflow, limits, root_workflow)


def _user_message(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _options_of(thread: Thread) -> RequestOptions:
    """Return the options of a child: of its parent's only those that are no matter of the reply."""
    hops = thread.options.hops
    return RequestOptions(hops=hops) if hops else DEFAULT_OPTIONS


def root_of(run: RunId, thread: Thread) -> RunId:
    """Return the run that a caller started, above this one or this one itself."""
    return RunId.parse(thread.ancestry.root) if thread.ancestry else run


def caller_of(thread: Thread) -> str:
    """Return the `traceparent` of the request that a run began with, also of one above it."""
    first = thread.latest[0].event
    return first.trace if isinstance(first, RunStarted) else ""


async def open_planner(
    services: Services, held: HeldRun, workflow: Workflow, replies: Sequence[ModelReplied]
) -> Planner:
    """Return a planner for a step; `replies` are written with it."""
    root = root_of(held.run, held.thread)
    below_root = await services.retry(lambda: services.store.count_descendants(root), math.inf)
    thread = held.thread.after(*(entry_of(held, reply) for reply in replies))
    return Planner(services, held, thread, workflow, below_root)


# --- answers ------------------------------------------------------------------------------------


async def read_answers(services: Services, calls: Sequence[Call]) -> dict[RunId, ChildAnswer]:
    """Return how the children of these calls stand, which are over or no longer needed."""
    return {run: await _read_answer(services, run) for run in awaited_runs(calls)}


async def _read_answer(services: Services, run: RunId) -> ChildAnswer:
    try:
        record = await services.retry(partial(services.store.run, run), math.inf)
        stored = await services.retry(partial(services.store.load, run.thread), math.inf)
    except NotFound:
        return ChildAnswer("cancelled", "it was deleted")
    thread = fold(entry for entry in stored.entries if entry.run <= run.ordinal)
    workflow = services.workflows.get(record.workflow)
    replies = [e.event for e in thread.latest if isinstance(e.event, ModelReplied)]
    last = replies[-1] if replies else ModelReplied((), thread.usage, "", "")
    messages = tuple(item for item in last.items if item.get("type", "message") == "message")
    usage = max(record.usage, thread.usage, key=lambda usage: usage.total_tokens)
    return ChildAnswer(
        record.status,
        thread.reason,
        reply_text(last),
        workflow is not None and workflow.output_type is not None,
        messages,
        usage,
        record.workflow,
        thread.usage_by_model or _of_default_model(services, usage),
    )


def _of_default_model(services: Services, usage: Usage) -> Mapping[str, Usage]:
    """Return the usage of a run without a named model, if models have different prices."""
    return {DEFAULT_MODEL: usage} if services.limits.prices and usage != NO_USAGE else {}
