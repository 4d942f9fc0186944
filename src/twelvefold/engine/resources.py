"""The resources of workflows: opened once in a process, handed to tools by type, closed at its end.

A workflow's context manager is entered before the first call that needs one of its objects. No
connection of the database is held meanwhile.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from functools import partial

from msgspec import Struct, structs

from twelvefold.core import OpenResources, RejectedCall, Tool, ValidCall, Workflow
from twelvefold.engine.retry import DEFAULT_RETRY_POLICY, RetryPolicy
from twelvefold.errors import ResourceUnavailable, WorkflowError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
AnyCall = ValidCall | RejectedCall
Provided = tuple[object, ...]
STOPPING = "the process stops"


class ResourceTimings(Struct, frozen=True):
    """Limits in seconds: of one attempt to open, of the attempts for one call, of the closing."""

    open_s: float = 30.0
    retry: RetryPolicy = DEFAULT_RETRY_POLICY
    close_s: float = 2.0


class Resources:
    """The resources of one process. Close it at the end.

    `replacements` are handed out for their types instead of what workflows provide, for example in
    tests; a context manager all of whose objects are replaced is not entered.
    """

    def __init__(
        self,
        replacements: Mapping[type, object] | None = None,
        timings: ResourceTimings | None = None,
    ) -> None:
        self._replacements = dict(replacements or {})
        self._timings = timings or ResourceTimings()
        self._context = copy_context()
        self._opened: list[_Opened] = []
        self._is_closed = False

    def check(self, workflows: Iterable[Workflow]) -> None:
        """Raise WorkflowError if a workflow provides no resource that its tool takes.

        Also if a replacement is for a type that no tool takes: the resource itself would be used.
        """
        workflows = [*workflows]
        self._check_replacements(workflows)
        for workflow in workflows:
            for tool, kind in self._needed(workflow):
                if workflow.resources is None:
                    raise WorkflowError(
                        f"workflow {workflow.name}: tool {tool.name} takes a Resource of "
                        f"{kind.__name__}, but the workflow has no resources="
                    )

    def _check_replacements(self, workflows: Iterable[Workflow]) -> None:
        tools = [tool for workflow in workflows for tool in workflow.tools]
        taken = dict.fromkeys(kind for tool in tools for kind in tool.resources.values())
        for kind in self._replacements:
            if kind not in taken:
                name = getattr(kind, "__name__", None) or repr(kind)
                types = ", ".join(one.__name__ for one in taken) or "none"
                raise WorkflowError(
                    f"resources replaces {name}, which no tool takes as a Resource; "
                    f"they take {types}"
                )

    def open_soon(self, workflows: Iterable[Workflow]) -> None:
        """Begin to open what the tools of these workflows need; log what is missing.

        Does nothing after `close`.
        """
        for workflow in workflows:
            if not self._is_closed and any(self._needed(workflow)):
                opened = self._opened_for(workflow)
                opened.provided.add_done_callback(partial(self._report, workflow))

    def _report(self, workflow: Workflow, provided: "asyncio.Future[Provided]") -> None:
        if provided.exception() is not None:
            return  # logged where it was raised
        for tool, kind in self._needed(workflow):
            try:
                self._find(workflow, tool, kind, provided.result())
            except ResourceUnavailable as error:
                log.error("resource_missing", error=error)

    async def open(self, workflow: Workflow) -> tuple[str, ...]:
        """Open what the workflow's tools need; return the names of the types.

        Raises ResourceUnavailable after one attempt, also if a type is missing.
        """
        needed = list(self._needed(workflow))
        if not needed:
            return ()
        provided = await self._opened_for(workflow).ready()
        for tool, kind in needed:
            self._find(workflow, tool, kind, provided)
        return tuple(dict.fromkeys(kind.__name__ for _, kind in needed))

    def are_open(self, workflow: Workflow, calls: Sequence[AnyCall]) -> bool:
        """Whether `hand_in` returns at once for these calls."""
        return not self._needed_by(calls) or any(
            one.is_open for one in self._opened if one.opener == workflow.resources
        )

    async def hand_in(self, workflow: Workflow, calls: Sequence[AnyCall]) -> tuple[AnyCall, ...]:
        """Return the calls with the resources that their tools take; open these if necessary.

        Raises ResourceUnavailable if they cannot be opened within the time for retries, or if one
        is missing.
        """
        provided = await self._ready(workflow) if self._needed_by(calls) else ()
        return tuple(self._with_resources(workflow, call, provided) for call in calls)

    def _with_resources(self, workflow: Workflow, call: AnyCall, provided: Provided) -> AnyCall:
        if isinstance(call, RejectedCall) or not call.tool.resources:
            return call
        found = {
            name: self._find(workflow, call.tool, kind, provided)
            for name, kind in call.tool.resources.items()
        }
        return structs.replace(call, resources=found)

    def _needed(self, workflow: Workflow) -> Iterator[tuple[Tool, type]]:
        """Yield each tool with each type of resource that the workflow has to provide for it."""
        for tool in workflow.tools:
            for kind in tool.resources.values():
                if kind not in self._replacements:
                    yield tool, kind

    def _needed_by(self, calls: Sequence[AnyCall]) -> bool:
        kinds: set[type] = set()
        for call in calls:
            if isinstance(call, ValidCall) and call.tool.resources:
                kinds.update(call.tool.resources.values())
        return not kinds <= self._replacements.keys()

    def _find(self, workflow: Workflow, tool: Tool, kind: type, provided: Provided) -> object:
        """Return the object of this type; of several, the one that has no subclass of it."""
        if kind in self._replacements:
            return self._replacements[kind]
        found = [one for one in provided if isinstance(one, kind)]
        exact = [one for one in found if type(one) is kind]
        if len(exact or found) == 1:
            return (exact or found)[0]
        problem = f"provide {len(found)} of them" if found else "do not provide one"
        types = ", ".join(type(one).__name__ for one in provided) or "nothing"
        raise ResourceUnavailable(
            f"workflow {workflow.name}: tool {tool.name} takes a Resource of {kind.__name__}; "
            f"the resources {problem} (they are: {types})"
        ).loggable()

    async def _ready(self, workflow: Workflow) -> Provided:
        loop, policy, attempts = asyncio.get_running_loop(), self._timings.retry, 0
        end = loop.time() + policy.timeout_s
        while True:
            try:
                return await self._opened_for(workflow).ready()
            except ResourceUnavailable:
                attempts += 1
                pause_s = policy.backoff.pause_s(attempts)
                if self._is_closed or loop.time() + pause_s > end:
                    raise
            await asyncio.sleep(pause_s)

    def _opened_for(self, workflow: Workflow) -> "_Opened":
        """Return the workflow's context manager: being entered, or open."""
        if self._is_closed or workflow.resources is None:
            raise ResourceUnavailable(
                f"workflow {workflow.name}: its resources "
                f"{'are closed' if self._is_closed else 'do not exist'}"
            ).loggable()
        self._opened = [one for one in self._opened if not one.is_over]
        for one in self._opened:
            if one.opener == workflow.resources:
                return one
        opened = self._context.copy().run(
            _Opened, workflow.name, workflow.resources, self._timings.open_s
        )
        self._opened.append(opened)
        return opened

    async def close(self) -> None:
        """Leave the context managers, last opened first; those that take too long are cancelled."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timings.close_s
        for one in reversed(self._opened):
            await one.close(end - loop.time())


class _Opened:
    """One context manager, entered and left in a task of its own.

    Some must be left by the task that has entered them, for example those with a TaskGroup.
    """

    def __init__(self, workflow: str, opener: OpenResources, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.opener = opener
        self.provided: asyncio.Future[Provided] = loop.create_future()
        self._workflow = workflow
        self._timeout_s = timeout_s
        self._closing = asyncio.Event()
        self._task = loop.create_task(self._hold(), name=f"resources of {workflow}")

    @property
    def is_over(self) -> bool:
        """Whether it could not be entered, or has ended by itself."""
        return self._task.done()

    @property
    def is_open(self) -> bool:
        """Whether it has been entered and not left."""
        return self.provided.done() and not self.is_over

    async def ready(self) -> Provided:
        """Return its objects when it has been entered. Raises ResourceUnavailable."""
        return await asyncio.shield(self.provided)

    async def close(self, timeout_s: float) -> None:
        """Leave it; cancel that after `timeout_s`."""
        self._closing.set()
        if not self.provided.done():
            self._task.cancel()
            # A task that is cancelled before its first line would leave its callers waiting.
            self._fail(STOPPING)
        _, late = await asyncio.wait([self._task], timeout=max(timeout_s, 0))
        if late:
            log.error("resources_not_closed", workflow=self._workflow, error="timeout")
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.1)

    async def _hold(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._timeout_s):
                    found = await stack.enter_async_context(self.opener())
                self.provided.set_result(found if isinstance(found, tuple) else (found,))
                await self._closing.wait()
        except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt):
            self._fail("cancelled")
            raise
        # A library may raise SystemExit, or a panic (one in Rust). It must not end the process: the
        # next one would end in the same way.
        except BaseException as error:
            event = "resources_failed" if self.provided.done() else "resources_not_opened"
            log.error(event, workflow=self._workflow, error=error)
            self._fail(f"{type(error).__name__}; the log has the place")

    def _fail(self, why: str) -> None:
        if self.provided.done():
            return
        message = f"workflow {self._workflow}: its resources cannot be opened: {why}"
        self.provided.set_exception(ResourceUnavailable(message).loggable())
        self.provided.exception()  # it need not be awaited
