"""A process that receives wake-ups, reports each on standard output, and acts on none.

python -m tests.services.broker.holder BROKER_URL DATABASE
"""

import asyncio
import sys

from twelvefold.services.broker import open_wake_ups


async def hold(url: str, database: str) -> None:
    wake_ups = open_wake_ups(broker_url=url, database=database)
    woken = asyncio.Event()
    async with wake_ups.subscribe(["shop"], mail=False, wake=woken.set) as subscription:
        subscription.settle(0, used=0, room=8)
        while True:
            await woken.wait()
            woken.clear()
            print(subscription.received, flush=True)


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
