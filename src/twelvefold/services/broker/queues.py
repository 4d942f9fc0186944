"""The queues at the broker: their names and arguments.

Every process declares the queues that it uses, so a broker needs no preparation. RabbitMQ
rejects a declaration with other arguments than those of the existing queue.
"""

from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractQueue

DELIVERY_LIMIT = 20
"""A wake-up that was returned so many times, or whose workers died, becomes a dead letter."""
MAX_WAKE_UPS = 10_000
"""Wake-ups in one queue. A full queue rejects more: workers have enough hints."""
MAX_DEAD_LETTERS = 1_000
DEAD_LETTER_TTL_MS = 7 * 24 * 3_600 * 1_000


@dataclass(frozen=True, slots=True)
class QueueNames:
    """The names of the queues of one database. Deployments that share a broker share no queue."""

    database: str

    def runs(self, workflow: str) -> str:
        return f"twelvefold.{self.database}.runs.{workflow}"

    @property
    def mail(self) -> str:
        return f"twelvefold.{self.database}.mail"

    @property
    def dead_letters(self) -> str:
        return f"twelvefold.{self.database}.dead"

    async def declare(self, channel: AbstractChannel, name: str) -> AbstractQueue:
        """Declare a queue of wake-ups, and the queue of its dead letters."""
        await channel.declare_queue(
            self.dead_letters,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-max-length": MAX_DEAD_LETTERS,
                "x-message-ttl": DEAD_LETTER_TTL_MS,
            },
        )
        return await channel.declare_queue(
            name,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-max-length": MAX_WAKE_UPS,
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dead_letters,
            },
        )
