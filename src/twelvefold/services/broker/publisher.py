"""Sends wake-ups in the background, each confirmed by the broker.

They are only counted per queue, so memory does not grow while the broker is unavailable.
"""

import asyncio
from collections import Counter
from contextlib import suppress

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError

from twelvefold.observe.log import get_logger
from twelvefold.services.broker.connection import Broker
from twelvefold.services.broker.queues import QueueNames

log = get_logger(__name__)
MAX_PENDING = 1_000
"""Limit of the wake-ups that wait to be sent. More are dropped: workers sweep the database."""
PARALLEL_PUBLISHES = 64
CONFIRM_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 1.0
"""How long a process that stops waits for its last confirmations."""


class Publisher:
    """Publishes wake-ups on a connection that the first of them opens."""

    def __init__(self, broker: Broker, names: QueueNames) -> None:
        self._broker = broker
        self._names = names
        self._pending: Counter[str] = Counter()
        self._is_pending = asyncio.Event()
        self._in_flight: Counter[str] = Counter()
        self._is_confirmed = asyncio.Event()
        self._declared: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def publish(self, queue: str) -> None:
        """Send a wake-up soon. Returns at once; drops it if too many wait already."""
        if self._pending.total() >= MAX_PENDING:
            return
        self._pending[queue] += 1
        self._is_pending.set()
        if self._task is None:
            work = self._broker.keep_connected("publisher", self._send)
            self._task = asyncio.get_running_loop().create_task(work, name="publish wake-ups")

    async def close(self) -> None:
        """Send what waits, within FLUSH_TIMEOUT_S, and disconnect."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while self._pending.total() + self._in_flight.total():
                    self._is_confirmed.clear()
                    await self._is_confirmed.wait()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _send(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(CONFIRM_TIMEOUT_S):
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._declared.clear()
        slots = asyncio.Semaphore(PARALLEL_PUBLISHES)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await slots.acquire()
                    queue = await self._next()
                    group.create_task(self._publish(channel, queue, slots))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            # Some may have arrived: a doubled wake-up does no harm.
            self._pending.update(self._in_flight)
            self._in_flight.clear()

    async def _next(self) -> str:
        while not (queue := next(iter(+self._pending), None)):
            self._is_pending.clear()
            await self._is_pending.wait()
        self._pending[queue] -= 1
        self._in_flight[queue] += 1
        return queue

    async def _publish(
        self, channel: AbstractChannel, queue: str, slots: asyncio.Semaphore
    ) -> None:
        with self._broker.faults():
            async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                await self._publish_confirmed(channel, queue)
        self._in_flight[queue] -= 1
        self._is_confirmed.set()
        slots.release()

    async def _publish_confirmed(self, channel: AbstractChannel, queue: str) -> None:
        if queue not in self._declared:
            await self._names.declare(channel, queue)
            self._declared.add(queue)
        message = Message(b"", delivery_mode=DeliveryMode.PERSISTENT)
        try:
            await channel.default_exchange.publish(message, queue, mandatory=True)
        except PublishError:
            raise  # the queue was deleted: it is sent again on a new connection
        except DeliveryError:
            log.debug("wake_up_rejected", queue=queue)  # the queue is full
