"""A semaphore whose waiting owners take turns."""

import asyncio
from collections import OrderedDict, deque
from types import TracebackType

from twelvefold.core import OWNER


class FairSemaphore:
    """An async context manager that at most `count` tasks enter at once.

    A free place goes to the next owner that waits, whose tasks enter in order. So an owner with
    hundreds of waiting tasks delays another owner by one place at a time.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(OWNER.get(), deque()).append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._release()  # the place came while this task was cancelled
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        """Give the place to the owner whose last turn is longest ago, or free it."""
        while self._waiting:
            owner, turns = self._waiting.popitem(last=False)
            while turns and turns[0].done():
                turns.popleft()  # its task was cancelled
            if not turns:
                continue
            turns.popleft().set_result(None)
            if turns:
                self._waiting[owner] = turns
            return
        self._free += 1
