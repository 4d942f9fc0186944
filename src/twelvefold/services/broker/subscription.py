"""Receives the wake-ups of one worker."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from twelvefold.observe.log import get_logger
from twelvefold.services.broker.connection import Broker
from twelvefold.services.broker.queues import QueueNames

log = get_logger(__name__)
MAX_PREFETCH = 16
"""Wake-ups of one queue that are not acknowledged yet: a worker claims as many runs at a time."""
REPLY_TIMEOUT_S = 10.0
CHECK_S = 30.0
"""How often the consumers are checked: a broker may lose one in a failover without notice."""


@dataclass(frozen=True, slots=True)
class _WakeUp:
    number: int
    is_mail: bool
    message: AbstractIncomingMessage


class Subscription:
    """Implements `twelvefold.core.ports.WakeUpSubscription` while `run` runs.

    All consumers are on one channel. AMQP fixes the prefetch count when a consumer starts, so a new
    count needs new consumers. It is a power of two, at most `room`, so that it changes rarely.
    """

    def __init__(
        self,
        broker: Broker,
        names: QueueNames,
        run_queues: Sequence[str],
        mail_queue: str | None,
        wake: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._names = names
        self._run_queues = run_queues
        self._mail_queue = mail_queue
        self._wake = wake
        self._room = 0
        self._settled: list[_WakeUp] = []
        self._waiting: deque[_WakeUp] = deque()
        self._changed = asyncio.Event()
        self._channel: AbstractChannel | None = None
        self._lost = ""
        self._prefetch = 0
        self._consumers: list[tuple[AbstractQueue, str]] = []
        self.is_connected = False
        self.received = 0

    def settle(self, last: int, *, used: int, room: int) -> None:
        runs = 0
        kept: deque[_WakeUp] = deque()
        for one in self._waiting:
            runs += not one.is_mail
            is_used = one.is_mail or room or runs <= used
            (self._settled if one.number <= last and is_used else kept).append(one)
        self._waiting, self._room = kept, room
        self._changed.set()

    async def run(self) -> None:
        """Receive until cancelled, on a new connection whenever one fails."""
        await self._broker.keep_connected("worker", self._receive)

    async def _receive(self, connection: AbstractConnection) -> None:
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                channel = await connection.channel(publisher_confirms=False)
                await self._open(channel)
                await self._apply(channel)
            self._set_connected(True)
            while True:
                await self._wait_for_change(channel)
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    await self._apply(channel)
        finally:
            self._waiting.clear()
            self._settled.clear()
            self._set_connected(False)

    async def _open(self, channel: AbstractChannel) -> None:
        self._channel, self._lost, self._prefetch, self._consumers = channel, "", 0, []
        underlay = await channel.get_underlay_channel()
        # aio-pika does not report either of these to the user of a queue.
        underlay.on_consumer_cancel_callbacks.add(
            lambda _: self._lose(channel, "a queue was deleted")
        )
        underlay.closing.add_done_callback(lambda _: self._lose(channel, "the channel was closed"))
        for name in self._run_queues:
            await self._names.declare(channel, name)
        if self._mail_queue is not None:
            queue = await self._names.declare(channel, self._mail_queue)
            await channel.set_qos(prefetch_count=1)
            await queue.consume(self._on_mail)

    def _set_connected(self, connected: bool) -> None:
        if connected:
            log.info("broker_connected", queues=len(self._run_queues) + bool(self._mail_queue))
        if connected != self.is_connected:
            self.is_connected = connected
            self._wake()

    def _lose(self, channel: AbstractChannel, reason: str) -> None:
        if channel is self._channel:
            self._lost = self._lost or reason
            self._changed.set()

    async def _on_run(self, message: AbstractIncomingMessage) -> None:
        self._on_message(message, is_mail=False)

    async def _on_mail(self, message: AbstractIncomingMessage) -> None:
        self._on_message(message, is_mail=True)

    def _on_message(self, message: AbstractIncomingMessage, *, is_mail: bool) -> None:
        self.received += 1
        self._waiting.append(_WakeUp(self.received, is_mail, message))
        self._wake()

    # --- what the worker has settled ------------------------------------------------------------

    async def _apply(self, channel: AbstractChannel) -> None:
        """Acknowledge the settled wake-ups, and set the prefetch count to the room."""
        settled, self._settled = self._settled, []
        for one in settled:
            await one.message.ack()
        prefetch = _power_of_two(min(self._room, MAX_PREFETCH))
        if prefetch != self._prefetch:
            await self._consume(channel, prefetch)
        if not prefetch:
            await self._return_runs()

    async def _consume(self, channel: AbstractChannel, prefetch: int) -> None:
        for queue, tag in self._consumers:
            await queue.cancel(tag)
        self._consumers = []
        if prefetch:
            await channel.set_qos(prefetch_count=prefetch)
        for name in self._run_queues if prefetch else ():
            queue = await channel.get_queue(name, ensure=False)
            self._consumers.append((queue, await queue.consume(self._on_run)))
        self._prefetch = prefetch

    async def _return_runs(self) -> None:
        """Return the wake-ups that this worker has no room for, after its consumers have ended."""
        returned = [one for one in self._waiting if not one.is_mail]
        self._waiting = deque(one for one in self._waiting if one.is_mail)
        for one in returned:
            await one.message.nack(requeue=True)

    async def _wait_for_change(self, channel: AbstractChannel) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._changed.wait()
        except TimeoutError:
            await self._check_consumers(channel)
        self._changed.clear()
        if self._lost:
            raise self._broker.fault(self._lost)

    async def _check_consumers(self, channel: AbstractChannel) -> None:
        for queue, _ in self._consumers:
            found = await channel.declare_queue(queue.name, passive=True)
            if not found.declaration_result.consumer_count:
                raise self._broker.fault(f"queue {queue.name} has lost its consumer")


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is at most the number; 0 for 0."""
    return 1 << (number.bit_length() - 1) if number else 0
