"""Administration of whole threads: classify and prune them."""

from twelvefold.boot import now_us
from twelvefold.core import FindPrice, Store, no_price
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
BATCH_SIZE = 1_000


async def classify_all(store: Store, batch_size: int = BATCH_SIZE) -> int:
    """Classify the threads that an older release wrote as listed or not; return their number.

    Each batch commits separately, so that an interrupted call can be repeated.
    """
    done = 0
    while classified := await store.classify(limit=batch_size):
        done += classified
        log.info("threads_classified", threads=done)
    return done


async def add_missing_questions(store: Store, batch_size: int = BATCH_SIZE) -> int:
    """Add the questions that an older release has asked to the lists of the persons asked.

    Each row commits separately, so that an interrupted call can be repeated. Returns their number.
    """
    done = 0
    while added := await store.add_missing_questions(limit=batch_size):
        done += added
        log.info("questions_added", questions=done)
    return done


async def prune(store: Store, older_than_s: float, price: FindPrice = no_price) -> int:
    """Remove the threads whose last run ended, or began to wait, so long ago; return their number.

    A thread with forks stays as long as the forks do. Threads of an older release are classified
    first, and all runs that ended are added to the sums of usage, with these prices.
    """
    await classify_all(store)
    return await store.prune(before_us=now_us() - round(older_than_s * 1_000_000), price=price)
