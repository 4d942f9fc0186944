"""The port of wake-ups: messages between processes that work waits in the database.

A wake-up is a hint. It names no run, and it may be lost or doubled: what is done is decided in the
database alone.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class WakeUpSubscription(Protocol):
    """The wake-ups that arrive for one worker. No method waits or raises."""

    @property
    def is_connected(self) -> bool:
        """Whether wake-ups arrive; a worker polls the database while they do not."""
        ...

    @property
    def received(self) -> int:
        """The number of the last wake-up that has arrived; they are numbered from 1."""
        ...

    def settle(self, last: int, *, used: int, room: int) -> None:
        """Acknowledge the wake-ups up to the number `last`: the worker has acted on them.

        `room` is how many more runs the worker can take; about as many wake-ups arrive before the
        next call. With 0, none arrive: only the first `used` that announce runs are acknowledged,
        and the others return to the broker, for other workers.
        """
        ...


class WakeUps(Protocol):
    """Sends wake-ups, and receives them for a worker."""

    def run_queued(self, workflow: str) -> None:
        """Wake a worker: the transaction that queued a run of this workflow is committed.

        Returns at once and raises nothing.
        """
        ...

    def mail_queued(self) -> None:
        """Wake a worker that sends mail: a message in the outbox is committed and due.

        Returns at once and raises nothing.
        """
        ...

    def subscribe(
        self, workflows: Collection[str], *, mail: bool, wake: Callable[[], None]
    ) -> AbstractAsyncContextManager[WakeUpSubscription]:
        """Receive wake-ups for runs of these workflows, and for mail if `mail`, during the body.

        The first call of `settle` starts those for runs. `wake` is called for each, and when
        `is_connected` changes. Wake-ups that are not acknowledged return to the broker at the end.
        """
        ...


class NoSubscription:
    """A subscription without a broker."""

    is_connected = False
    received = 0

    def settle(self, last: int, *, used: int, room: int) -> None:
        """Do nothing: none has arrived."""


class NoWakeUps:
    """The wake-ups of a process without a broker: workers poll the database."""

    def run_queued(self, workflow: str) -> None:
        """Do nothing: a worker finds the run."""

    def mail_queued(self) -> None:
        """Do nothing: a worker finds the message."""

    @asynccontextmanager
    async def subscribe(
        self, workflows: Collection[str], *, mail: bool, wake: Callable[[], None]
    ) -> AsyncIterator[WakeUpSubscription]:
        """Yield a subscription in which nothing arrives."""
        yield NoSubscription()
