"""The services and workflows that the engine works with, opened by `boot`.

`Preparation` imports and builds before the first run what would otherwise be imported on first use.
An HTTP client takes a second of CPU to import, and many seconds on a loaded machine. On the event
loop, with runs claimed, that would delay the renewals of their leases.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import structs

from twelvefold.backoff import Backoff
from twelvefold.core import (
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    Ids,
    Lease,
    Limits,
    Mailer,
    Model,
    ModelProfile,
    NoWakeUps,
    OutputType,
    RequestOptions,
    Store,
    Thread,
    ThreadId,
    Tool,
    WakeUps,
    Workflow,
    models_of,
)
from twelvefold.engine.budgets import BudgetBook, FindPrice, unknown
from twelvefold.engine.gate import Gate
from twelvefold.engine.lease import Clock, HeldLease, LeaseRenewer, Renewer
from twelvefold.engine.measured_model import MeasuredModel
from twelvefold.engine.memory import RUN_BYTES
from twelvefold.engine.resources import Resources
from twelvefold.engine.retry import DEFAULT_RETRY_POLICY, RetryPolicy, retry_unavailable
from twelvefold.engine.run_shares import RunShares
from twelvefold.engine.traces import Traces
from twelvefold.engine.uninterrupted import ExitLimit
from twelvefold.errors import ModelUnavailable, WorkflowError
from twelvefold.observe import metrics
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Result = TypeVar("Result")
CACHE_SHARE = 4
"""The cache has a quarter of the memory budget for runs, in addition to it."""
_COPIES = 2
"""A thread counts twice: as entries, and as items in the form of a request."""
_ENTRY_BYTES = 1024
"""What an entry takes as Python objects, beside its text."""
_NO_PROFILE = ModelProfile()
_SETTLEMENT = Backoff(first_s=0.1, longest_s=2.0)


@dataclass(frozen=True, slots=True)
class Timings:
    """Pauses and time limits inside the engine, in seconds. Tests shorten them.

    `release_s`: how long a process tries to give a run back; then its lease expires.
    `cancel_poll_s`: how often a process checks whether another one has ended a cancelled run.
    `delta_s`: how long text of a reply is collected before it is written; the first piece is
    written at once. `delta_retry_s`: the pause after a piece could not be written.
    `renewals_per_lease` is a count. `settlement_s`: how long a model call waits, with the pauses of
    `settlement`, for others to settle what they have reserved of a budget. `start_settlement_s`:
    the same for a new run, which holds its slots meanwhile; these are taken for some seconds only.
    """

    retry: RetryPolicy = DEFAULT_RETRY_POLICY
    release_s: float = 5.0
    cancel_poll_s: float = 0.05
    delta_s: float = 0.05
    delta_retry_s: float = 1.0
    renewals_per_lease: float = 3.0
    settlement_s: float = 60.0
    start_settlement_s: float = 5.0
    settlement: Backoff = _SETTLEMENT


class ThreadCache:
    """Caches threads at the end of a run that this process drove.

    The next run does not read and fold the whole journal. A cached thread may be out of date:
    another process may have continued it. The start of a run checks the thread's head; for a
    claimed run the process reads the entries that follow. Keeps threads of at most `limit` bytes in
    total; evicts the least recently used first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._threads: OrderedDict[ThreadId, Thread] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """The total size of all threads, in bytes."""
        return self._size

    def get(self, id: ThreadId) -> Thread | None:
        """Return a thread as it was when it was put here, or None."""
        if id in self._threads:
            self._threads.move_to_end(id)
        return self._threads.get(id)

    def put(self, id: ThreadId, thread: Thread) -> None:
        """Keep a thread, unless it alone is larger than the limit."""
        self.drop(id)
        self._threads[id] = thread
        self._size += _size_of(thread)
        while self._size > self._limit:
            self.drop(next(iter(self._threads)))

    def drop(self, id: ThreadId) -> bool:
        """Remove a thread; return whether it was cached."""
        thread = self._threads.pop(id, None)
        if thread is not None:
            self._size -= _size_of(thread)
        return thread is not None


def _size_of(thread: Thread) -> int:
    return _COPIES * thread.size + _ENTRY_BYTES * (thread.head + 1)


@dataclass(frozen=True)
class Services:
    """The services of one process. `release` is written into every run that it starts.

    `monotonic` is the clock of leases, in seconds; `renewer` renews them. `exit_limit` begins when
    the process stops. `wake_ups` notifies workers of runs and mail that a commit has queued.
    `resources` are what tools take as `Resource`.
    `threads` caches the threads of runs that ended here.
    `profiles` has what the settings say about each model, by its name in MODELS or "default".
    `models` are those of MODELS. `internal` are the names of workflows that only other workflows
    may start. `find_price` returns the price of a model by the same names, if it is known.
    `traces` exports the spans of runs; None: traces are off.
    """

    store: Store
    model: Model
    workflows: Mapping[str, Workflow]
    ids: Ids
    limits: Limits
    release: str
    monotonic: Clock = time.monotonic
    renewer: Renewer = field(default_factory=LeaseRenewer)
    exit_limit: ExitLimit = field(default_factory=ExitLimit, compare=False)
    timings: Timings = field(default_factory=Timings)
    wake_ups: WakeUps = field(default_factory=NoWakeUps, compare=False)
    resources: Resources = field(default_factory=Resources, compare=False)
    threads: ThreadCache = field(
        default_factory=lambda: ThreadCache(RUN_BYTES // CACHE_SHARE), compare=False
    )
    models: Mapping[str, Model] = field(default_factory=dict, compare=False)
    profiles: Mapping[str, ModelProfile] = field(default_factory=dict)
    internal: frozenset[str] = frozenset()
    find_price: FindPrice = field(default=unknown, compare=False)
    traces: Traces | None = field(default=None, compare=False)

    @cached_property
    def offered(self) -> Mapping[str, Workflow]:
        """The workflows that callers may start, by name."""
        if not self.internal:
            return self.workflows
        return {name: one for name, one in self.workflows.items() if name not in self.internal}

    def hold(self, lease: Lease, sent_at: float) -> HeldLease:
        """Return a lease that a request granted which was sent at `sent_at`, by `monotonic`."""
        return HeldLease(
            self.store,
            lease,
            self.limits.lease_s,
            sent_at,
            self.monotonic,
            renewals=self.timings.renewals_per_lease,
            retry=self._retry_policy,
        )

    async def retry(
        self, work: Callable[[], Awaitable[Result]], timeout_s: float | None = None
    ) -> Result:
        """Retry `work` while the database is unavailable, as `retry_unavailable` does."""
        return await retry_unavailable(work, timeout_s, policy=self._retry_policy)

    def model_of(self, name: str) -> Model:
        """Return the model with this name. Raises ModelUnavailable if there is none."""
        if name != DEFAULT_MODEL and name not in self.models:
            raise ModelUnavailable(f"MODELS has no model {name!r}").loggable()
        model = self.model if name == DEFAULT_MODEL else self.models[name]
        return model if metrics.active is None else MeasuredModel(name, model, metrics.active)

    def profile(self, model: str) -> ModelProfile:
        """Return what is known of a model; of one without settings, nothing but the defaults."""
        return self.profiles.get(model, _NO_PROFILE)

    def inputs(self, workflow: Workflow, options: RequestOptions) -> tuple[frozenset[str], ...]:
        """Return the inputs beside text that each model of a run takes.

        Models of a fallback chain that do not take the images and files of a run are skipped.
        """
        names = models_of(workflow.model, options)
        return tuple(self.profile(name).accepts for name in names)

    @cached_property
    def gate(self) -> Gate:
        """Whether runs may write what an older release cannot read."""
        return Gate(self.store.schema, self.monotonic)

    @cached_property
    def budgets(self) -> BudgetBook:
        """The budgets of the database, as this process has read them."""
        read = partial(retry_unavailable, self.store.budgets, policy=self._retry_policy)
        return BudgetBook(read, self.find_price, self.monotonic)

    @cached_property
    def run_shares(self) -> RunShares:
        """The limits of the runs that keys and principals drive at once, over all processes."""
        limits = self.limits
        per_key, per_principal = limits.active_runs_per_key, limits.active_runs_per_principal
        return RunShares(self.store, per_key, per_principal, self.monotonic)

    @cached_property
    def _retry_policy(self) -> RetryPolicy:
        return structs.replace(self.timings.retry, failing_timeout_s=self.limits.retry_timeout_s)


@runtime_checkable
class Preparable(Protocol):
    """A service that imports or builds something on first use."""

    def prepare(self) -> None:
        """Import and build it now; called in a thread. A second call does nothing."""
        ...


class Preparation:
    """Prepares the services and tools of a process once, in a thread; then opens resources."""

    def __init__(self, services: Services, mailer: Mailer | None = None) -> None:
        self._services = services
        self._mailer = mailer
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return when the preparation is done; all callers wait for the same one."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._prepare(), name="prepare")
        if not self._task.done():
            await asyncio.shield(self._task)

    async def _prepare(self) -> None:
        services = self._services
        await asyncio.to_thread(prepare, services, self._mailer)
        # Not awaited: one that does not answer must not delay the runs of other workflows.
        services.resources.open_soon(services.workflows.values())


def prepare(services: Services, mailer: Mailer | None = None) -> None:
    """Import and build what runs of these workflows need.

    Raises nothing. An error is logged, and raised again in the runs that use the service or tool.
    """
    attached: tuple[object, ...] = (*_models_in_use(services), services.store, mailer)
    for service in attached:
        if isinstance(service, Preparable):
            _prepare_service(service)
    for workflow in services.workflows.values():
        for tool in workflow.tools:
            _prepare_tool(workflow, tool)
        if workflow.output_type is not None:
            _prepare_output(workflow, workflow.output_type)


def _models_in_use(services: Services) -> list[Model]:
    """Return the default model, and the named models of the workflows."""
    named = dict.fromkeys(
        name
        for workflow in services.workflows.values()
        for name in (*models_of(workflow.model, DEFAULT_OPTIONS), *workflow.models)
        if name in services.models
    )
    return [services.model, *(services.models[name] for name in named)]


def _prepare_service(service: Preparable) -> None:
    try:
        service.prepare()
    except Exception:
        log.exception("service_not_prepared", service=type(service).__name__)


def _prepare_output(workflow: Workflow, output: OutputType) -> None:
    try:
        output.prepare()
    except WorkflowError as error:
        log.error("output_not_prepared", workflow=workflow.name, error=str(error))


def _prepare_tool(workflow: Workflow, tool: Tool) -> None:
    try:
        tool.prepare()
    except WorkflowError as error:
        log.error("tool_not_prepared", workflow=workflow.name, error=str(error))
    except Exception:  # a type of the author may raise anything when its schema is built
        log.exception("tool_not_prepared", workflow=workflow.name, tool=tool.name)
