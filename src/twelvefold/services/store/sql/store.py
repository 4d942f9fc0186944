"""The SQL store: every part of `twelvefold.core.ports.Store`, over any driver's transactions."""

from abc import abstractmethod

from twelvefold.services.store.sql.budgets import Budgets
from twelvefold.services.store.sql.keys import Keys
from twelvefold.services.store.sql.operations import Operations
from twelvefold.services.store.sql.outbox import Outbox
from twelvefold.services.store.sql.processes import Processes
from twelvefold.services.store.sql.questions import Questions
from twelvefold.services.store.sql.queue import Queue
from twelvefold.services.store.sql.releases import Releases
from twelvefold.services.store.sql.retention import Retention
from twelvefold.services.store.sql.runs import Runs
from twelvefold.services.store.sql.shares import Shares
from twelvefold.services.store.sql.statistics import Statistics
from twelvefold.services.store.sql.steps import Steps
from twelvefold.services.store.sql.traces import Traces
from twelvefold.services.store.sql.waits import Waits


class SQLStore(
    Steps,
    Runs,
    Waits,
    Questions,
    Budgets,
    Keys,
    Shares,
    Outbox,
    Queue,
    Releases,
    Retention,
    Processes,
    Statistics,
    Operations,
    Traces,
):
    """Implements `twelvefold.core.ports.Store`.

    A subclass provides the connections, translates the driver's errors, and names the file with
    the statements of its dialect.
    """

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""
