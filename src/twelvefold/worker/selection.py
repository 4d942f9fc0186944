"""Selects the runs that a worker claims next, from one search of the queue."""

from collections.abc import Callable, Collection, Mapping, Sequence

from twelvefold.core import RunId, WaitingRun, WaitingWork
from twelvefold.engine import Services
from twelvefold.worker.backoff import RunBackoff
from twelvefold.worker.quarantine import PoisonRunLimiter
from twelvefold.worker.share_holds import ShareHolds
from twelvefold.worker.turns import Search, Turns

BATCH_SIZE = 16
"""How many runs are claimed together; the others are left for other workers."""
SLOW_BATCH_SIZE = 4
"""The same while more runs fail than are remembered. About as many pauses end per poll anyway, so a
service that is down is not overloaded."""
CHOICE = 4
"""The candidates of a principal are so many times the runs to claim: workers that all took the
oldest would compete for them."""
STATEMENTS = 4
"""Statements of one search. The next search continues after the principals of this one."""


class RunSelector:
    """Selects runs round-robin between principals, without paused and quarantined runs.

    `on_due_mail` is called when a search finds that a message in the outbox is due.
    """

    def __init__(
        self,
        services: Services,
        backoff: RunBackoff,
        share_holds: ShareHolds,
        share: int,
        *,
        batch_size: int = BATCH_SIZE,
        on_due_mail: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._backoff = backoff
        self._share_holds = share_holds
        self._batch_size = batch_size
        self._on_due_mail = on_due_mail
        self._turns = Turns(share)
        self._limiter = PoisonRunLimiter(services.limits.max_attempts)
        self.is_held_back = False
        """Whether the last selection left out runs because of their principal's share."""
        self.leaves_runs = False
        """Whether the last selection left out runs that are not paused."""
        self.mail_is_due = False
        """Whether the last search found a message that is due."""

    async def select(self, slots: int, held: Mapping[RunId, str]) -> Sequence[WaitingRun]:
        """Return up to `slots` runs to claim beside `held`, which maps runs to principals.

        One principal's runs may fill a statement: the next statement reads after that principal.
        """
        limit = min(slots, SLOW_BATCH_SIZE if self._backoff.is_full else self._batch_size)
        search, found = Search(self._turns.after), dict[RunId, WaitingRun]()
        for _ in range(STATEMENTS):
            work = await self._read(limit, search.after)
            found |= {one.run: one for one in work.runs}
            chosen = self._choose(found.values(), limit, held)
            if search.advance(work.end) or len(chosen) == limit:
                break
        self._turns.record(chosen, limit, search)
        return chosen

    async def _read(self, limit: int, after: str) -> WaitingWork:
        # Paused and quarantined runs may be the oldest of all.
        rows = CHOICE * limit + len(self._backoff) + self._limiter.excluded
        workflows = tuple(self._services.workflows) if limit else ()
        work = await self._services.store.waiting_work(
            workflows=workflows, limit=rows, after=after, without_keys=self._share_holds.keys
        )
        self.mail_is_due = work.mail_is_due
        if work.mail_is_due:
            self._on_due_mail()
        return work

    def _choose(
        self, found: Collection[WaitingRun], limit: int, held: Mapping[RunId, str]
    ) -> list[WaitingRun]:
        free = [one for one in found if one.run not in held and one.run not in self._backoff]
        if self._share_holds:
            free = [one for one in free if one not in self._share_holds]
        selected = self._limiter.select(self._turns.order(free, CHOICE * limit), held)
        chosen = self._turns.choose(selected, limit, held)
        holds = bool(self._share_holds)
        self.is_held_back = holds or len(chosen) < min(limit, len(selected))
        self.leaves_runs = holds or len(chosen) < len(free)
        return chosen
