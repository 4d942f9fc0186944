"""A real RabbitMQ as the tests of wake-ups use it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity

from tests.servers import RabbitMQ
from twelvefold.engine.services import Services
from twelvefold.services.broker import open_wake_ups
from twelvefold.services.broker.rabbitmq import RabbitMQWakeUps


@dataclass
class TestBroker:
    """The queues of one database. `queue` is that of workflow `shop`."""

    __test__ = False

    server: RabbitMQ
    database: str
    _opened: list[RabbitMQWakeUps] = field(default_factory=list)

    @property
    def queue(self) -> str:
        return f"twelvefold.{self.database}.runs.shop"

    @property
    def dead_letters(self) -> str:
        return f"twelvefold.{self.database}.dead"

    def wake_ups(self) -> RabbitMQWakeUps:
        """Return the wake-ups of one more process."""
        opened = open_wake_ups(broker_url=self.server.url, database=self.database)
        self._opened.append(opened)
        return opened

    def attach(self, services: Services) -> Services:
        return replace(services, wake_ups=self.wake_ups())

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        async with await aio_pika.connect(self.server.url) as connection:
            yield await connection.channel()

    async def counts(self, name: str) -> tuple[int, int] | None:
        """Return how many messages of a queue are ready, and its consumers; None without it."""
        try:
            async with self.channel() as channel:
                queue = await channel.declare_queue(name, passive=True)
                found = queue.declaration_result
                return found.message_count or 0, found.consumer_count or 0
        except ChannelNotFoundEntity:
            return None

    async def until_counts(self, name: str, ready: int, consumers: int) -> None:
        while await self.counts(name) != (ready, consumers):
            await asyncio.sleep(0.05)

    async def delete(self, name: str) -> None:
        async with self.channel() as channel:
            await channel.queue_delete(name)

    async def purge(self, name: str) -> None:
        async with self.channel() as channel:
            await (await channel.get_queue(name, ensure=False)).purge()

    async def close(self) -> None:
        for one in self._opened:
            await one.close()
        for name in (self.queue, self.dead_letters, f"twelvefold.{self.database}.mail"):
            await self.delete(name)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)
