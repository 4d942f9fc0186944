"""Metrics that are read from the database when they are requested, at most every few seconds.

Every process reports the same figures of the whole deployment: take their maximum, not their sum.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric

from twelvefold.core import OutboxCount, RunCount
from twelvefold.core.ports import StatisticsStore
from twelvefold.errors import ServiceFault
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
MAX_COUNT = 10_000
"""Rows of a kind are counted up to this number."""
CACHE_TTL_S = 5.0
READ_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one read of the database found."""

    runs: Sequence[RunCount]
    messages: Sequence[OutboxCount]


class DatabaseCollector:
    """Reads the figures of these workflows through `store`, in the event loop `loop`.

    `collect` is called in other threads. A collector of Prometheus' library.
    """

    def __init__(
        self,
        store: StatisticsStore,
        workflows: Collection[str],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._workflows = workflows
        self._loop = loop
        self._clock = clock
        self._figures: Figures | None = None
        self._valid_until = 0.0

    def describe(self) -> Iterable[Metric]:
        """Return no description, so that registering the collector reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        figures = self._read()
        answers = GaugeMetricFamily(
            "twelvefold_database_up", "Whether the database answers to this process."
        )
        answers.add_metric([], float(figures is not None))
        yield answers
        if figures is not None:
            yield from _run_metrics(figures.runs)
            yield from _outbox_metrics(figures.messages)
        yield self._pools()

    def _read(self) -> Figures | None:
        """Return figures that are at most CACHE_TTL_S old; None if the database does not answer."""
        if self._clock() >= self._valid_until:
            self._figures = self._read_in_loop()
            self._valid_until = self._clock() + CACHE_TTL_S
        return self._figures

    def _read_in_loop(self) -> Figures | None:
        reading = self._fetch()
        try:
            future = asyncio.run_coroutine_threadsafe(reading, self._loop)
        except RuntimeError:  # the loop is closed
            reading.close()
            return None
        try:
            return future.result(READ_TIMEOUT_S + 1)
        except (TimeoutError, CancelledError):  # the loop is blocked, or is about to be closed
            future.cancel()
            return None

    async def _fetch(self) -> Figures | None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                return Figures(
                    await self._store.run_counts(workflows=self._workflows, limit=MAX_COUNT),
                    await self._store.outbox_counts(limit=MAX_COUNT),
                )
        except (ServiceFault, TimeoutError) as error:
            log.warning("metrics_not_read", error=error)
            return None

    def _pools(self) -> Metric:
        pools = GaugeMetricFamily(
            "twelvefold_database_connections",
            "Connections of this process to the database; those of state limit are the most.",
            labels=["pool", "state"],
        )
        for count in self._store.pool_counts():
            pools.add_metric([count.pool, "in_use"], count.in_use)
            pools.add_metric([count.pool, "idle"], count.idle)
            pools.add_metric([count.pool, "limit"], count.limit)
        return pools


def _run_metrics(counts: Sequence[RunCount]) -> Iterator[Metric]:
    runs = GaugeMetricFamily(
        "twelvefold_runs",
        f"Runs of all processes that are not over, counted up to {MAX_COUNT}.",
        labels=["workflow", "status"],
    )
    ages = GaugeMetricFamily(
        "twelvefold_queue_age_seconds",
        "For how long the oldest queued run of all processes has waited.",
        labels=["workflow"],
    )
    for count in counts:
        runs.add_metric([count.workflow, count.status], count.runs)
        if count.status == "queued":
            ages.add_metric([count.workflow], count.age_s)
    yield runs
    yield ages


def _outbox_metrics(counts: Sequence[OutboxCount]) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "twelvefold_outbox_messages",
        f"Messages of all processes that were not sent, counted up to {MAX_COUNT}.",
        labels=["state"],
    )
    ages = GaugeMetricFamily(
        "twelvefold_outbox_age_seconds",
        "For how long the oldest message has been due, or dead.",
        labels=["state"],
    )
    for count in counts:
        messages.add_metric([count.state], count.messages)
        if count.state != "deferred":
            ages.add_metric([count.state], count.age_s)
    yield messages
    yield ages
