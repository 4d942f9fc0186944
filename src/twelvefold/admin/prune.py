"""Remove conversations that have been over, or have waited for a person, for long."""

from twelvefold.admin.classify import classify_all
from twelvefold.boot import now_us
from twelvefold.core.ports import Store


async def prune(store: Store, older_than_s: float) -> int:
    """Remove the threads whose last run was over, or began to wait, so long ago; returns how many.

    A thread that others were forked from stays as long as they do. Of those that stay, what an
    older release wrote is classified.
    """
    await classify_all(store)
    return await store.prune(before_us=now_us() - round(older_than_s * 1_000_000))
