"""Classify what an older release wrote, so that the lists of this release have it."""

from twelvefold.core.ports import Store
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
BATCH = 1_000


async def classify_all(store: Store, batch: int = BATCH) -> int:
    """Find out of all threads whether they are listed; returns how many were not known.

    Each batch is committed by itself, so that running it again goes on where it was cut off.
    """
    done = 0
    while found := await store.classify(limit=batch):
        done += found
        log.info("threads_classified", threads=done)
    return done
