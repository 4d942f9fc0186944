"""A process that only counts usage, as fast as it can, until it is killed."""

import asyncio
import sys

from twelvefold.core import no_price
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store import open_store


async def main(url: str) -> None:
    """Count for ever. The first line of output says that it begins."""
    store = await open_store(url)
    print("counting", flush=True)
    while True:
        try:
            counted = await store.count_usage(no_price)
        except StoreUnavailable:
            counted = 0
        await asyncio.sleep(0 if counted else 0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
