"""Requests a reply from the models of a run: from one model, or from a fallback chain.

A model of a chain that another one can replace is asked twice at most, however often its settings
allow. Its usage is written to the run's row before the next model is asked: a process that is
killed then loses none of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from twelvefold.core import (
    DEFAULT_MODEL,
    CompactedRequest,
    Fallback,
    Limits,
    Listener,
    ModelAttempt,
    ModelReplied,
    ModelReply,
    ModelRequest,
    NullListener,
    RequestOptions,
    Workflow,
    dearest,
    models_of,
)
from twelvefold.engine.held_run import NO_USAGE, HeldRun
from twelvefold.engine.inputs import models_for
from twelvefold.engine.services import Services
from twelvefold.errors import (
    ModelRejected,
    ModelTooLarge,
    ModelUnavailable,
    RequestError,
    StoreUnavailable,
)
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
Build = Callable[[Limits], CompactedRequest]
"""Builds the next request of a run, shortened to the window in the limits."""
CHAIN_ATTEMPTS = 2
"""How often a model of a chain is asked before the next one is."""
ERROR_CHARS = 500
"""The most characters of an attempt's error in the journal."""


def run_limits(services: Services, workflow: Workflow, options: RequestOptions) -> Limits:
    """Return the limits of a run. Tokens without a named model have its models' highest price."""
    names = models_of(workflow.model, options)
    if names == (DEFAULT_MODEL,):
        return services.limits
    prices = {name: price for name in names if (price := services.profile(name).price)}
    return replace(services.limits, price=dearest(prices))


def model_limits(services: Services, model: str) -> Limits:
    """Return the limits of a request to a model: those of the process, and the model's window."""
    if model == DEFAULT_MODEL or model not in services.profiles:
        return services.limits
    window, setting = services.profile(model).window_tokens, f"MODELS: {model}.window"
    return replace(services.limits, context_tokens=window, window_setting=setting)


async def request_reply(
    services: Services, held: HeldRun, workflow: Workflow, build: Build, listener: Listener
) -> ModelReplied:
    """Return the reply of the run's model, or of the first model of its chain that replies.

    The usage of failed attempts counts, whatever happens. Raises as `Model.reply` does; if no model
    of a chain replies, the error names each. A model that does not take the images and files of the
    conversation is not asked. Raises RequestError if the part of the conversation that must be sent
    exceeds the window, InputRefused if no model takes its images and files, and LeaseLost.
    """
    names = models_of(workflow.model, held.thread.options)
    if held.thread.has_attachments:
        names = models_for(services, workflow, held.thread)
    rule = workflow.model
    if len(names) > 1 and isinstance(rule, Fallback):
        return await _Chain(services, held, rule, build, _ShownText(listener)).reply(names)
    (name,) = names
    request = _shortened(build(model_limits(services, name))).request
    try:
        reply = await _ask(services, held, name, request, listener)
    except (ModelUnavailable, ModelRejected) as error:
        held.unrecorded.usage += error.usage or NO_USAGE
        raise
    return _to_event(held, reply, "" if name == DEFAULT_MODEL else name)


async def _ask(
    services: Services, held: HeldRun, name: str, request: ModelRequest, listener: Listener
) -> ModelReply:
    """Return a model's reply; its cost is reserved in the budgets that cover the run, and settled.

    Raises as `Model.reply` does, InsufficientQuota and PriceUnknown.
    """
    model = services.model_of(name)
    if budgets := await services.budgets.covering(held.thread):
        from twelvefold.engine.metering import Meter  # only runs under budgets need it

        return await Meter(services, held, name, budgets).reply(model, request, listener)
    return await model.reply(request, listener)


def _shortened(compacted: CompactedRequest) -> CompactedRequest:
    """Log that a request was shortened, and return it."""
    if compacted.is_shortened:
        log.warning(
            "context_compacted",
            results_left_out=compacted.results_left_out,
            turns_left_out=compacted.turns_left_out,
        )
    return compacted


def _to_event(
    held: HeldRun, reply: ModelReply, named: str, attempts: Sequence[ModelAttempt] = ()
) -> ModelReplied:
    """Return the reply as an event. Its usage counts even if the event cannot be written."""
    held.unrecorded.usage += reply.usage
    return ModelReplied(
        reply.items,
        reply.usage,
        reply.model,
        reply.request_hash,
        reply.ended,
        named=named,
        attempts=tuple(attempts),
    )


class _ShownText(NullListener):
    """A listener of a model that knows whether the text that it passed on is still valid."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._is_shown = False

    def text(self, delta: str) -> None:
        self._is_shown = True
        self._listener.text(delta)

    def restarted(self, why: str) -> None:
        self._is_shown = False
        self._listener.restarted(why)

    def void(self, why: str) -> None:
        """Void the text of a model that did not complete its reply, unless that has happened."""
        if self._is_shown:
            self.restarted(why)


class _TooSlow(ModelUnavailable):
    """A model did not complete its reply in the time that the chain gives it."""


@dataclass(slots=True)
class _Chain:
    """One reply of a chain; `attempts` are the models that failed, `logged` their log texts."""

    services: Services
    held: HeldRun
    rule: Fallback
    build: Build
    listener: _ShownText
    attempts: list[ModelAttempt] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    has_outage: bool = False

    async def reply(self, names: Sequence[str]) -> ModelReplied:
        others: list[str] = [*names]
        while True:
            name, *others = others
            try:
                reply = await self._ask(name, others)
            except (ModelUnavailable, ModelRejected) as error:
                self._add(name, error)
                if not (others and self._continues_after(error)):
                    raise self._total(error) from error
                await self._fall_back(name, error, others[0])
            else:
                return _to_event(self.held, reply, name, self.attempts)

    async def _ask(self, name: str, others: Sequence[str]) -> ModelReply:
        """Ask one model; `others` can be asked after it."""
        request = self._request_for(name, others)
        after_s = self.rule.after_s if others else None
        try:
            async with asyncio.timeout(after_s) as limit:
                return await _ask(self.services, self.held, name, request, self.listener)
        except TimeoutError as expired:
            if after_s is None or not limit.expired():
                raise
            raise _too_slow(expired, after_s) from None

    def _request_for(self, name: str, others: Sequence[str]) -> ModelRequest:
        """Return the request, shortened to the model's window.

        Raises ModelTooLarge if that is not possible, or if another model has a larger window.
        """
        limits = model_limits(self.services, name)
        try:
            compacted = self.build(limits)
        except RequestError as error:
            raise ModelTooLarge(str(error)) from error
        if compacted.is_shortened and self._has_larger_window(limits, others):
            raise ModelTooLarge(
                f"the conversation exceeds its window of {limits.context_tokens} tokens"
            ).loggable()
        return replace(_shortened(compacted).request, attempts=CHAIN_ATTEMPTS if others else 0)

    def _has_larger_window(self, limits: Limits, others: Sequence[str]) -> bool:
        if "too_large" not in self.rule.on:
            return False
        windows = (model_limits(self.services, name).context_tokens for name in others)
        return any(window > limits.context_tokens for window in windows)

    def _continues_after(self, error: ModelUnavailable | ModelRejected) -> bool:
        match error:
            case _TooSlow():
                return True
            case ModelTooLarge():
                return "too_large" in self.rule.on
            case _:
                return isinstance(error, ModelUnavailable) and "outage" in self.rule.on

    def _add(self, name: str, error: ModelUnavailable | ModelRejected) -> None:
        usage = error.usage or NO_USAGE
        self.held.unrecorded.usage += usage
        self.attempts.append(ModelAttempt(name, str(error)[:ERROR_CHARS], usage))
        self.logged.append(f"{name}: {error.logged}")
        self.has_outage |= isinstance(error, ModelUnavailable)

    async def _fall_back(
        self, name: str, error: ModelUnavailable | ModelRejected, next_name: str
    ) -> None:
        """Void the text of the model that failed, and record its usage."""
        log.warning("model_fallback", model=name, next=next_name, why=error)
        self.listener.void(str(error))
        if error.usage and (total := self.held.unrecorded_total()):
            store, lease = self.services.store, self.held.lease
            try:
                await self.services.retry(lambda: store.record_usage(lease, total))
            except StoreUnavailable as fault:
                # The next commit of this process records it.
                log.warning("usage_not_recorded", error=fault)

    def _total(self, error: ModelUnavailable | ModelRejected) -> ModelUnavailable | ModelRejected:
        """Return the error of the run, which names all models that were asked.

        After an outage of one of them a later request may help, unless the last rejects it.
        """
        if len(self.attempts) == 1:
            return error
        is_final = isinstance(error, ModelRejected) and not isinstance(error, ModelTooLarge)
        kind = ModelUnavailable if self.has_outage and not is_final else ModelRejected
        causes = "; ".join(f"{one.model}: {one.error}" for one in self.attempts)
        total = kind(f"no model of the chain replied: {causes}")
        used = sum((one.usage for one in self.attempts), NO_USAGE)
        total.usage = used if used != NO_USAGE else None
        return total.loggable(f"no model of the chain replied: {'; '.join(self.logged)}")


def _too_slow(expired: TimeoutError, after_s: float) -> _TooSlow:
    """Return the error of a model that was stopped, with the usage that it reports."""
    error = _TooSlow(f"no complete reply in {after_s:g} s").loggable()
    cause: BaseException | None = expired
    while cause is not None and not isinstance(cause, ModelUnavailable):
        cause = cause.__cause__
    error.usage = cause.usage if isinstance(cause, ModelUnavailable) else None
    return error
