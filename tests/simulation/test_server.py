"""The simulated server: row locks, lost connections, and transactions side by side."""

from typing import Any

from tests.simulation.database import SCHEMA, new_database
from tests.simulation.loop import Timeline
from tests.simulation.server import LOCK_WAIT_S, Session, SimulatedServer
from twelvefold.services.store.connection import DriverResult
from twelvefold.services.store.sqlite.connection import run_statement

NEW_THREAD = (
    "INSERT INTO threads (id, principal, workflow, head, created_at, metadata) "
    "VALUES (:thread, 'ann', 'shop', 1, 0, '')"
)
MOVE = "UPDATE threads SET head = :head WHERE id = :thread"
ORDER = "INSERT INTO orders (call_id, item) VALUES ('1', 'a lamp')"


class Client:
    """A connection, and the answers that it got."""

    def __init__(self, server: SimulatedServer) -> None:
        self.server = server
        self.session = Session(self)
        self.answers: list[DriverResult | BaseException] = []
        server.connect(self.session)

    def execute(self, statement: str, **values: Any) -> None:
        self.server.execute(self.session, self.answers.append, run_statement, statement, values)

    def commit(self) -> None:
        self.server.commit(self.session, self.answers.append)

    @property
    def last(self) -> Any:
        found: Any = self.answers[-1] if self.answers else None
        return found


def served() -> tuple[Timeline, SimulatedServer]:
    timeline = Timeline()
    server = SimulatedServer(timeline, new_database(SCHEMA))
    first = Client(server)
    first.execute(NEW_THREAD, thread="t1")
    first.execute(NEW_THREAD, thread="t2")
    first.commit()
    return timeline, server


def heads(server: SimulatedServer) -> dict[str, int]:
    return dict(server.look("SELECT id, head FROM threads ORDER BY id"))


def orders(server: SimulatedServer) -> int:
    return int(server.look("SELECT count(*) FROM orders")[0][0])


def test_uncommitted_rows_are_not_seen() -> None:
    _, server = served()
    one = Client(server)
    one.execute(MOVE, thread="t1", head=7)

    assert heads(server) == {"t1": 1, "t2": 1}
    one.commit()
    assert heads(server) == {"t1": 7, "t2": 1}


def test_transactions_on_other_rows_do_not_wait() -> None:
    _, server = served()
    one, other = Client(server), Client(server)
    one.execute(MOVE, thread="t1", head=7)
    one.execute(ORDER)
    other.execute(MOVE, thread="t2", head=8)
    other.commit()
    one.commit()

    assert heads(server) == {"t1": 7, "t2": 8}
    assert orders(server) == 1


def test_a_statement_waits_for_the_row_of_another_transaction() -> None:
    timeline, server = served()
    one, other = Client(server), Client(server)
    one.execute(MOVE, thread="t1", head=7)
    other.execute(MOVE, thread="t1", head=8)
    assert not other.answers

    timeline.later(1.0, one.commit)
    timeline.run(until=lambda: other.last is not None, end=10.0)

    assert timeline.now == 1.0
    assert other.last.rowcount == 1


def test_a_statement_does_not_wait_forever() -> None:
    timeline, server = served()
    one, other = Client(server), Client(server)
    one.execute(MOVE, thread="t1", head=7)
    other.execute(ORDER)
    other.execute(MOVE, thread="t1", head=8)

    timeline.run(until=lambda: len(other.answers) == 2, end=10.0)

    assert timeline.now == LOCK_WAIT_S
    assert other.last.args[0] == 1205
    one.commit()
    assert orders(server) == 0


def test_a_lost_connection_rolls_back_and_frees_the_row() -> None:
    timeline, server = served()
    one, other = Client(server), Client(server)
    one.execute(MOVE, thread="t1", head=7)
    other.execute(MOVE, thread="t1", head=8)

    server.disconnect(one.session)
    timeline.run(until=lambda: other.last is not None, end=1.0)
    other.commit()
    one.commit()

    assert one.last.args[0] == 2013
    assert heads(server) == {"t1": 8, "t2": 1}


def test_what_another_transaction_has_changed_is_a_deadlock() -> None:
    _, server = served()
    one, other = Client(server), Client(server)
    unlocked = "UPDATE threads AS t SET head = head + 1 WHERE head = 1"
    one.execute(unlocked)
    other.execute(unlocked)
    one.commit()
    other.commit()

    assert other.last.args[0] == 1213
    assert heads(server) == {"t1": 2, "t2": 2}
