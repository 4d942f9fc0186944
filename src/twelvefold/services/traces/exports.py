"""The traces of a process: the spans of the runs that it holds, and of those that others left.

The spans of a process that was killed are made again from the journal: by the next holder of the
run, or, if the run was over, by any process that finds its export in the store. At least once, and
with the same ids each time.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import cast

from twelvefold.core import (
    ApprovalAnswered,
    CallId,
    Entry,
    OutcomeSettled,
    RunId,
    RunStarted,
    Store,
    Thread,
    TraceExport,
)
from twelvefold.core.trace_ids import RunTrace, SpanContext, call_span, reply_span, trace_of
from twelvefold.errors import NotFound, ServiceFault, StoreRefused, StoreUnavailable
from twelvefold.observe import gen_ai
from twelvefold.observe.log import get_logger
from twelvefold.observe.run_spans import RunSpans, Span
from twelvefold.observe.span_content import SpanContent
from twelvefold.services.traces.otlp import CurrentSpan, SpanSink, current_span
from twelvefold.services.traces.receipts import Receipt

log = get_logger(__name__)
_ANSWERS = (ApprovalAnswered, OutcomeSettled)
"""Entries that a command writes for a process that goes on with the run."""
LOST_AFTER_S = 24 * 3600.0
"""Spans that no collector took for so long are given up."""


@dataclass(frozen=True, slots=True)
class ExportTimings:
    """Pauses in seconds. `confirm_s`: until the store learns what was exported.

    `sweep_s`: between searches for exports of other processes; `lease_s`: how long one may take.
    """

    confirm_s: float = 5.0
    sweep_s: float = 30.0
    lease_s: float = 60.0


DEFAULT_TIMINGS = ExportTimings()
BATCH_SIZE = 50
"""Exports of other processes that one search takes."""


class HeldTrace:
    """Implements `twelvefold.engine.HeldTrace`."""

    def __init__(self, exporter: "TraceExporter", spans: RunSpans, started: RunStarted) -> None:
        self._exporter = exporter
        self._trace = spans.trace
        self._spans = spans
        self._flags = exporter.flags(spans.trace, started)
        self._receipt = exporter.receipt(spans.trace.run)

    @property
    def is_sampled(self) -> bool:
        return bool(self._flags)

    @property
    def is_pending(self) -> bool:
        return self._receipt.is_pending

    def reply(self, position: int) -> AbstractContextManager[None]:
        return self._current(reply_span(self._trace.run, position))

    def call(self, call: CallId) -> AbstractContextManager[None]:
        return self._current(call_span(self._trace.run, call))

    def _current(self, span: str) -> AbstractContextManager[None]:
        return CurrentSpan(SpanContext(self._trace.trace, span, self._flags))

    def record(self, entries: Sequence[Entry]) -> None:
        self.emit(self.add([one for one in entries if one.position > self._spans.position]))

    def add(self, entries: Sequence[Entry]) -> Sequence[Span]:
        """Return the spans that these entries complete."""
        return self._spans.add(entries)

    def emit(self, spans: Sequence[Span]) -> None:
        """Queue spans, if the trace is sampled."""
        if self._flags and spans:
            self._receipt.add(len(spans))
            for span in spans:
                self._exporter.sink.emit(self._trace, span, self._receipt)

    def rest(self, position: int) -> None:
        receipt, self._receipt = self._receipt, self._exporter.receipt(self._trace.run)
        if self._flags:
            receipt.close(position)


class TraceExporter:
    """Implements `twelvefold.engine.Traces`. Call `start`, then `close`."""

    def __init__(
        self, store: Store, sink: SpanSink, timings: ExportTimings = DEFAULT_TIMINGS
    ) -> None:
        self.sink = sink
        self._store = store
        self._timings = timings
        self._confirmed: deque[TraceExport] = deque()
        self._task: asyncio.Task[None] | None = None

    def hold(self, run: RunId, thread: Thread) -> HeldTrace:
        held = self._open(run, thread.latest[0])
        last_us = thread.latest[-1].at_us
        earlier = held.add([entry for entry in thread.latest if entry.at_us != last_us])
        last = [entry for entry in thread.latest if entry.at_us == last_us]
        spans = held.add(last)
        if thread.interrupted:
            held.emit([*earlier, *spans])
        elif any(isinstance(entry.event, _ANSWERS) for entry in last):
            held.emit(spans)  # the process that wrote the answer may have no traces
        return held

    def _open(self, run: RunId, first: Entry) -> HeldTrace:
        """Return the trace of a run that begins with this entry."""
        started = cast("RunStarted", first.event)
        content = SpanContent() if self.sink.captures_content else None
        made = RunSpans(trace_of(run, started), content)
        return HeldTrace(self, made, started)

    def flags(self, trace: RunTrace, started: RunStarted) -> int:
        """Return the flags of a run's trace: as decided at its start, or as the sampler decides."""
        if started.sampled is not None:
            return int(started.sampled)
        return self.sink.flags(trace, f"{gen_ai.OPERATION_INVOKE_AGENT} {started.workflow}")

    def samples(self, run: RunId, started: RunStarted) -> bool:
        return bool(self.flags(trace_of(run, started), started))

    def caller(self) -> str:
        return current_span()

    def receipt(self, run: RunId) -> Receipt:
        """Return a receipt whose end the store learns of."""
        return Receipt(run, self._confirmed.append)

    # --- in the background ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to confirm exports to the store, and to search for those of other processes."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="traces")

    async def close(self) -> None:
        """Export what is queued, for a short time at most, and confirm it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self.sink.close)  # it has an end: see CLOSE_S
        await self.confirm()

    async def _run(self) -> None:
        slept_s = 0.0
        while True:
            await asyncio.sleep(self._timings.confirm_s)
            await self.confirm()
            slept_s += self._timings.confirm_s
            if slept_s >= self._timings.sweep_s and not await self.sweep():
                slept_s = 0.0

    async def confirm(self) -> None:
        """Remove exports that are complete from the store; what fails is exported again later."""
        done = [self._confirmed.popleft() for _ in range(len(self._confirmed))]
        if not done:
            return
        try:
            await self._store.remove_trace_exports(done)
        except ServiceFault as error:
            log.warning("trace_exports_not_removed", error=error)

    async def sweep(self) -> bool:
        """Export the spans of runs that other processes have left; return whether more are due.

        While no collector takes spans, one run at a time is tried.
        """
        try:
            due = await self._claim()
            most = 1 if self.sink.is_failing else BATCH_SIZE
            for one in due[:most]:
                await self._try_export(one)
        except ServiceFault as error:
            log.warning("trace_exports_not_read", error=error)
            return False
        return len(due) == most == BATCH_SIZE

    async def _claim(self) -> list[TraceExport]:
        """Return exports that are due. Those that are too old are removed."""
        while True:
            due = await self._store.claim_trace_exports(
                limit=BATCH_SIZE, lease_s=self._timings.lease_s
            )
            lost = [one for one in due if one.age_s > LOST_AFTER_S]
            if lost:
                log.error("traces_lost", runs=len(lost), hours=round(LOST_AFTER_S / 3600))
                await self._store.remove_trace_exports(lost)
            if len(lost) < BATCH_SIZE:
                return [one for one in due if one.age_s <= LOST_AFTER_S]

    async def _try_export(self, export: TraceExport) -> None:
        """Export a run unless this release cannot read it; it stays for another one."""
        try:
            await self._export(export)
        except StoreUnavailable:
            raise
        except StoreRefused as error:
            log.warning("trace_not_exported", run=str(export.run), error=error)
        except Exception:
            # This is the only task that exports them, so it must not end.
            log.exception("trace_not_exported", run=str(export.run))

    async def _export(self, export: TraceExport) -> None:
        run, position = export.run, export.position
        try:
            await self._store.thread(run.thread)
            record = await self._store.load(run.thread)
        except NotFound:  # it was deleted
            await self._store.remove_trace_exports([export])
            return
        entries = [one for one in record.entries if one.run == run.ordinal]
        held = self._open(run, entries[0])
        held.emit(held.add([one for one in entries if one.position <= position]))
        held.rest(position)
        if not held.is_sampled:
            await self._store.remove_trace_exports([export])
