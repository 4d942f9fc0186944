"""Access to the outbox of the working directory's database."""

import asyncio
from typing import Any

from twelvefold.core.ports import OutboxMessage, Store
from twelvefold.services.store import open_store

URL = "sqlite:///twelvefold.db"


async def with_store(work: Any) -> Any:
    """Return the result of `work(store)`."""
    store = await open_store(URL)
    try:
        return await work(store)
    finally:
        await store.close()


def send_mail(*names: str) -> None:
    async def work(store: Store) -> None:
        async with store.write() as tx:
            for name in names:
                await tx.send_mail(f"{name}@example.org", f"Welcome {name}", "secret words")

    asyncio.run(with_store(work))


def stored_messages() -> list[OutboxMessage]:
    async def work(store: Store) -> list[OutboxMessage]:
        return await store.messages(limit=100)

    found: list[OutboxMessage] = asyncio.run(with_store(work))
    return found


def fail_delivery(error: str, retry_s: float | None) -> None:
    """Record a failed delivery of the only message."""

    async def work(store: Store) -> None:
        (message,) = await store.due_messages(1)
        assert await store.claim_message(message, 60)
        await store.message_failed(message, error, retry_s)

    asyncio.run(with_store(work))
