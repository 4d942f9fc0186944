"""Sets up the session of a new connection and reads its properties."""

from dataclasses import dataclass

from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.sql.steps import LONG_STEP_S

SESSION = (
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {:d}",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
VITESS = "SET transaction_mode = 'single'"
"""On Vitess: a statement on another shard than the transaction's is an error.

By default Vitess commits the parts of such a transaction one after the other, so a crash may lose
a part of it.
"""
RENEWAL_LOCK_WAIT = f"SET SESSION innodb_lock_wait_timeout = {LONG_STEP_S:.0f}"
"""A long step renews its run's lease itself, so a renewal waits for a step no longer than this."""
SESSION_VARIABLES = "'wsrep_on', 'group_replication_single_primary_mode', 'max_allowed_packet'"


@dataclass(slots=True)
class Session:
    """Properties of a connection's session.

    `checked_at`: when its server was last known to take writes, by the monotonic clock.
    """

    write_fence: int
    max_packet: int
    checked_at: float = 0.0


async def prepare_session(db: MySQLConnection, lock_s: int, *, is_renewal: bool) -> Session:
    """Set up the session and commit. `lock_s`: how long its statements wait for a lock.

    `is_renewal`: the connection renews leases. Raises StoreUnavailable and StoreRefused.
    """
    for statement in SESSION:
        await db.execute(statement.format(lock_s), {})
    if "vitess" in db.raw.get_server_info().lower():
        await db.execute(VITESS, {})
    if is_renewal:
        await db.execute(RENEWAL_LOCK_WAIT, {})
    session = await _read_session(db)
    await db.commit()
    return session


async def _read_session(db: MySQLConnection) -> Session:
    rows = await db.fetch(f"SHOW VARIABLES WHERE Variable_name IN ({SESSION_VARIABLES})", {})
    variables = {row["Variable_name"]: row["Value"] for row in rows}
    is_galera = variables.get("wsrep_on") == "ON"
    if is_galera:
        # SELECT, UPDATE and DELETE wait for what other nodes have committed. Otherwise an UPDATE
        # that matches no row would mean a lost lease that another node has just granted.
        await db.execute("SET SESSION wsrep_sync_wait = 3", {})
    # A group without a single primary certifies changed rows only, as Galera does.
    has_several_writers = (
        is_galera or variables.get("group_replication_single_primary_mode") == "OFF"
    )
    return Session(int(has_several_writers), int(variables.get("max_allowed_packet", 0)))
