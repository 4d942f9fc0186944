"""The port of operators: the runs of all principals."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from twelvefold.core.ids import RunId
from twelvefold.core.ports.outbox import OutboxMessage
from twelvefold.core.ports.run_records import RunRecord, RunStatus


class RunFilter(Struct, frozen=True):
    """Which runs to find; "" and None leave out a condition.

    Times are microseconds since 1970 by the server's clock: `since_us` is included, `until_us` is
    not. `id_prefix` are the first characters of a thread's id, with `ordinal` of one of its runs.
    `error` is a part of the error, in any case; without a `status` only of failed runs. `asks`:
    runs that wait and have asked a person, who may have answered since.
    """

    status: RunStatus | None = None
    workflow: str = ""
    principal: str = ""
    since_us: int = 0
    until_us: int | None = None
    id_prefix: str = ""
    ordinal: int | None = None
    error: str = ""
    asks: bool = False


class OperatedRun(Struct, frozen=True):
    """A run as an operator sees it. `parent` is the run that started it.

    `attempts` counts the claims since the last entry of its thread. `updated_at_us` is the time of
    its last entry or its end, in microseconds since 1970.
    """

    record: RunRecord
    attempts: int
    updated_at_us: int
    parent: RunId | None = None


class FoundRuns(NamedTuple):
    """A page of runs. `end`: the last run that was examined, if there may be more after it."""

    runs: Sequence[OperatedRun]
    end: RunId | None = None


MessageState = Literal["due", "failed", "dead", "sent"]
"""Of a message in the outbox: it waits for its first attempt or for another one, is retried no
more, or was sent."""


class OperationStore(Protocol):
    """What operators read. Every method may raise StoreUnavailable."""

    async def find_runs(
        self, filter: RunFilter, *, limit: int, after: RunId | None = None
    ) -> FoundRuns:
        """Return runs, newest first, those with an `id_prefix` by their ids.

        Examines a bounded number of runs, so a page may have fewer than `limit` although there are
        more: then `end` continues it. Raises NotFound if the run `after` does not exist.
        """
        ...

    async def operated_run(self, run: RunId) -> OperatedRun:
        """Return one run. Raises NotFound, also if it was deleted."""
        ...

    async def runs_below(self, run: RunId, *, limit: int) -> Sequence[OperatedRun]:
        """Return the runs that a run and those below it have started, oldest first."""
        ...

    async def find_messages(
        self, state: MessageState, *, limit: int, after: str = ""
    ) -> list[OutboxMessage]:
        """Return messages of the outbox, those with the latest attempt first.

        Of due and failed messages it examines a bounded number. Raises NotFound if the message
        `after` does not exist.
        """
        ...

    async def find_message(self, id: str) -> OutboxMessage:
        """Return one message of the outbox. Raises NotFound."""
        ...
