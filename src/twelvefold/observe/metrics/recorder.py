"""Records the measurements of a process in its metrics.

A label has one of the values that the settings and the code know, or "other". Text of a caller or
of a model never becomes a label.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from twelvefold.core import (
    DEFAULT_MODEL,
    Event,
    FinalStatus,
    ModelReplied,
    OutcomeUnknown,
    Price,
    RunFinished,
    RunStarted,
    ToolFailed,
    ToolSucceeded,
    Usage,
    WaitStarted,
    cost_micro_usd,
)
from twelvefold.observe import gen_ai
from twelvefold.observe.metrics import MailOutcome, Service
from twelvefold.observe.metrics.instruments import Instruments

OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OUTCOMES: dict[type, str] = {
    ToolSucceeded: "succeeded",
    ToolFailed: "",
    WaitStarted: "waiting",
    OutcomeUnknown: "unknown",
}
"""The outcome of a call by its entry; "" for the failure that the entry names."""
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The values of labels. `models` and `prices` are by the name in MODELS, or "default"."""

    workflows: Collection[str]
    tools: Collection[str]
    models: Mapping[str, str]
    prices: Mapping[str, Price] = field(default_factory=dict)


class Recorder:
    """Implements `Metrics`."""

    def __init__(self, instruments: Instruments, known: KnownNames) -> None:
        self._of = instruments
        self._known = known
        self._tokens: dict[str, Sequence[tuple[str, Callable[[float], None]]]] = {}
        self._create_counters()

    def _create_counters(self) -> None:
        """Create the counters whose labels are known, at 0: the first increase is seen then."""
        for workflow in self._known.workflows:
            self._of.runs_started(workflow)
            self._of.takeovers(workflow)
            for status in get_args(FinalStatus):
                self._of.runs_finished(workflow, status)
        for service in get_args(Service):
            self._of.retries(service)
        for outcome in get_args(MailOutcome):
            self._of.mails(outcome)

    def drive_started(self) -> None:
        self._of.runs_driven.inc()

    def drive_ended(self) -> None:
        self._of.runs_driven.dec()

    def recorded(self, workflow: str, events: Sequence[Event]) -> None:
        workflow = self._workflow(workflow)
        for event in events:
            if isinstance(event, ModelReplied):
                self._count_usage(workflow, event.named or DEFAULT_MODEL, event.usage)
                for attempt in event.attempts:
                    self._count_usage(workflow, attempt.model, attempt.usage)
            elif isinstance(event, RunStarted):
                self._of.runs_started(workflow).inc()
            elif isinstance(event, RunFinished):
                self._of.runs_finished(workflow, event.status).inc()
            elif type(event) in OUTCOMES:
                self._count_call(event)

    def _count_usage(self, workflow: str, name: str, usage: Usage) -> None:
        for unit, count in self._tokens_of(name):
            if tokens := getattr(usage, unit):
                count(tokens)
        price = self._known.prices.get(name)
        if price is not None and (cost := cost_micro_usd(usage, price)):
            self._of.cost(workflow, self._model(name)).inc(cost * _MICRO)

    def _tokens_of(self, name: str) -> Sequence[tuple[str, Callable[[float], None]]]:
        """Return the fields of Usage, each with the counter of the model."""
        model = self._model(name)
        if model not in self._tokens:
            counters = self._of.tokens.items()
            self._tokens[model] = [
                (unit, counter(gen_ai.OPERATION_CHAT, model).inc) for unit, counter in counters
            ]
        return self._tokens[model]

    def _count_call(self, event: Any) -> None:
        outcome = OUTCOMES[type(event)] or event.failure
        self._of.tool_calls(self._tool(event.tool), outcome).inc()

    def step(self, workflow: str, seconds: float) -> None:
        self._of.steps(self._workflow(workflow)).observe(seconds)

    def tool(self, tool: str, seconds: float) -> None:
        self._of.tool_seconds(self._tool(tool)).observe(seconds)

    def model(self, model: str, seconds: float, first_s: float | None, error: str) -> None:
        name = self._model(model)
        self._of.model_seconds(gen_ai.OPERATION_CHAT, name, error).observe(seconds)
        if first_s is not None:
            self._of.first_chunk_seconds(gen_ai.OPERATION_CHAT, name).observe(first_s)

    def retried(self, service: Service) -> None:
        self._of.retries(service).inc()

    def lease_lost(self) -> None:
        self._of.lease_losses.inc()

    def taken_over(self, workflow: str) -> None:
        self._of.takeovers(self._workflow(workflow)).inc()

    def mail(self, outcome: MailOutcome) -> None:
        self._of.mails(outcome).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        route = route or OTHER
        method = method if method in METHODS else OTHER
        self._of.requests(method, route, str(status)).inc()
        self._of.request_seconds(route).observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """The event loop ran a timer that late."""
        self._of.loop_lag.observe(seconds)

    # --- values of labels -------------------------------------------------------------------------

    def _workflow(self, name: str) -> str:
        return name if name in self._known.workflows else OTHER

    def _tool(self, name: str) -> str:
        return name if name in self._known.tools else OTHER

    def _model(self, name: str) -> str:
        return self._known.models.get(name, OTHER)
