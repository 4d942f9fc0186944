"""Wake-ups over RabbitMQ, on quorum queues: one for each workflow, one for mail.

A web process sends on one connection and a worker receives on another, so that a broker that blocks
publishers does not block acknowledgements.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from twelvefold.secret_file import SecretFile
from twelvefold.services.broker.connection import Broker
from twelvefold.services.broker.publisher import Publisher
from twelvefold.services.broker.queues import QueueNames
from twelvefold.services.broker.subscription import Subscription


class RabbitMQWakeUps:
    """Implements `twelvefold.core.ports.WakeUps`."""

    def __init__(
        self, url: str, database: str, ca_file: str = "", password: SecretFile | None = None
    ) -> None:
        self._broker = Broker(url, ca_file, password)
        self._names = QueueNames(database)
        self._publisher = Publisher(self._broker, self._names)

    def run_queued(self, workflow: str) -> None:
        self._publisher.publish(self._names.runs(workflow))

    def mail_queued(self) -> None:
        self._publisher.publish(self._names.mail)

    @asynccontextmanager
    async def subscribe(
        self, workflows: Collection[str], *, mail: bool, wake: Callable[[], None]
    ) -> AsyncIterator[Subscription]:
        subscription = Subscription(
            self._broker,
            self._names,
            [self._names.runs(workflow) for workflow in workflows],
            self._names.mail if mail else None,
            wake,
        )
        loop = asyncio.get_running_loop()
        receiving = loop.create_task(subscription.run(), name="receive wake-ups")
        try:
            yield subscription
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])

    async def check(self, workflows: Collection[str]) -> str:
        """Connect and declare the queues; return the broker's host. Raises BrokerUnavailable."""
        async with self._broker.connection("doctor") as connection:
            channel = await connection.channel()
            for workflow in workflows:
                await self._names.declare(channel, self._names.runs(workflow))
            await self._names.declare(channel, self._names.mail)
        return self._broker.host

    async def close(self) -> None:
        """Send the last wake-ups, within a second, and disconnect."""
        await self._publisher.close()
