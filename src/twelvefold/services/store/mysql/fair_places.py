"""A bounded number of places, for which owners take turns while all are in use."""

import asyncio
from collections import OrderedDict, deque
from types import TracebackType

from twelvefold.core.owner import OWNER


class FairPlaces:
    """An async context manager that at most `count` tasks enter at once.

    A place that becomes free goes to the next owner that waits, whose tasks get theirs in order. So
    an owner with hundreds of waiting tasks delays another's by one place at a time.
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
                self._hand_over()  # it came as this task gave up
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hand_over()

    def _hand_over(self) -> None:
        """Give a place to the owner whose last turn is longest ago, or set it free."""
        while self._waiting:
            owner, turns = self._waiting.popitem(last=False)
            while turns and turns[0].done():
                turns.popleft()  # its task gave up
            if not turns:
                continue
            turns.popleft().set_result(None)
            if turns:
                self._waiting[owner] = turns
            return
        self._free += 1
