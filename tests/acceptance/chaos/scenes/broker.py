"""Faults of the message broker that wakes the workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tests.acceptance.chaos.arena import DATABASE, Arena
from tests.acceptance.chaos.scenes.scene import FAULT_S, LONG_FAULT_S, Scene
from tests.acceptance.chaos.shared import SharedService
from tests.acceptance.chaos.terms import QUEUED, Terms

QUEUES = (f"twelvefold.{DATABASE}.runs.chaos", f"twelvefold.{DATABASE}.mail")
KILL = 'os:cmd("kill -9 " ++ os:getpid()).'
TRACE = "amq.rabbitmq.trace"
"""Gets a copy of each published message after `rabbitmqctl trace_on`. Source: "Firehose Tracer"."""
AGAIN = "chaos-again"
"""A header of the copies, which are not doubled themselves."""


class _BrokerScene(Scene):
    def __init__(self) -> None:
        self.broker = SharedService("rabbitmq")
        self.missing = self.broker.missing
        super().__init__(Terms(QUEUED, broker=self.broker))
        self._seen = 0

    def seen(self, arena: Arena) -> int:
        return self._seen

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        connection = await aio_pika.connect(self.broker.urls[0])
        async with connection:
            yield await connection.channel()


class BrokerKilled(_BrokerScene):
    """The broker is ended by SIGKILL, and started again."""

    name: ClassVar[str] = "rabbitmq-killed"

    async def faults(self, arena: Arena) -> None:
        # The broker ends before it responds to that command.
        await self.broker.attempt("ctl", "eval", KILL)
        await asyncio.sleep(FAULT_S)
        await self.broker.do("start")
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return arena.log_lines().count('"broker_unavailable"')


class QueuePurged(_BrokerScene):
    """All messages are removed from the queues, again and again."""

    name: ClassVar[str] = "rabbitmq-purged"

    async def faults(self, arena: Arena) -> None:
        async with self.channel() as channel:
            for _ in range(int(4 * LONG_FAULT_S)):
                for name in QUEUES:
                    queue = await channel.get_queue(name, ensure=False)
                    self._seen += (await queue.purge()).message_count or 0
                await asyncio.sleep(0.25)
        await arena.recover()


class MessagesDoubled(_BrokerScene):
    """Each message arrives twice."""

    name: ClassVar[str] = "rabbitmq-doubled"

    async def faults(self, arena: Arena) -> None:
        await self.broker.do("ctl", "trace_on")
        async with self.channel() as channel:
            copies = await channel.declare_queue(exclusive=True)
            await copies.bind(TRACE, "publish.#")

            async def publish_again(copy: AbstractIncomingMessage) -> None:
                async with copy.process():
                    await self._publish_again(channel, copy)

            await copies.consume(publish_again)
            await asyncio.sleep(LONG_FAULT_S)
        await self.broker.do("ctl", "trace_off")
        await arena.recover()

    async def _publish_again(self, channel: AbstractChannel, copy: AbstractIncomingMessage) -> None:
        headers: dict[str, Any] = dict(copy.headers)
        queue = str(headers["routing_keys"][0])
        if queue not in QUEUES or AGAIN in headers["properties"].get("headers", {}):
            return
        message = aio_pika.Message(copy.body, headers={AGAIN: True})
        await channel.default_exchange.publish(message, queue)
        self._seen += 1
