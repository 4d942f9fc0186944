"""Several hosts in DATABASE_URL: their URLs, and which server is used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from asyncmy.errors import OperationalError

from tests.loop_clock import LoopClock
from tests.servers import galera, join_node, kill_node
from tests.services.store.mysql.stub_server import Session, StubServer, error
from twelvefold.core.ports import Store
from twelvefold.errors import SettingsError, StoreUnavailable
from twelvefold.services.store import open_store
from twelvefold.services.store.mysql.connection import MySQLConnection
from twelvefold.services.store.mysql.connections import Timeouts
from twelvefold.services.store.mysql.hosts import (
    GROUP_STATE,
    RECOVERY_S,
    SERVER_STATE,
    HostSelector,
    HostTimings,
    ServerState,
    address,
    find_writable,
    report_hosts,
)
from twelvefold.services.store.mysql.server_urls import server_urls
from twelvefold.services.store.mysql.store import MySQLStore
from twelvefold.services.store.mysql.url import connect_arguments, host_arguments

WRITABLE = (0, 0)
READ_ONLY = (1, 0)

# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("mysql://u:p@a/db", ["mysql://u:p@a/db"]),
        ("mysql://a:1,b/db", ["mysql://a:1/db", "mysql://b/db"]),
        (
            "mysql+asyncmy://u:p,w@a:1, b:2,[::1]:3/db?charset=utf8",
            [
                "mysql+asyncmy://u:p,w@a:1/db?charset=utf8",
                "mysql+asyncmy://u:p,w@b:2/db?charset=utf8",
                "mysql+asyncmy://u:p,w@[::1]:3/db?charset=utf8",
            ],
        ),
        ("mysql://u:p,w@a/db?x=b,c", ["mysql://u:p,w@a/db?x=b,c"]),
        ("sqlite:///a,b.db", ["sqlite:///a,b.db"]),
        ("no url, at all", ["no url, at all"]),
    ],
)
def test_a_list_of_hosts_is_one_url_for_each(url: str, urls: list[str]) -> None:
    assert server_urls(url) == urls


def test_each_host_has_the_arguments_of_the_whole_url() -> None:
    arguments = host_arguments("mysql://u:p@a:1,[::1],c:3/db?charset=latin1")

    assert [(one["host"], one["port"]) for one in arguments] == [
        ("a", 1),
        ("::1", 3306),
        ("c", 3),
    ]
    assert {(one["user"], one["database"], one["charset"]) for one in arguments} == {
        ("u", "db", "latin1")
    }
    assert [address(one) for one in arguments] == ["a:1", "[::1]:3306", "c:3"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u:p@a,,b/db", "one of several hosts is empty"),
        ("mysql://u:p@a,b:many/db", "Port could not be cast"),
        ("mysql://u:p@a,b/db?unix_socket=/run/my.sock", "unix_socket names one server"),
    ],
)
def test_an_invalid_list_of_hosts_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"^DATABASE_URL: .*{why}"):
        host_arguments(url)


# --- the state of a server ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "obstacle"),
    [
        (ServerState(0, 0), ""),
        (ServerState("OFF", "OFF"), ""),
        (ServerState(1, 0), "it is read-only"),
        (ServerState("NO_LOCK", 0), "it is read-only"),
        (ServerState(0, 1), "it is read-only"),
        (ServerState(0, 0, members=3, online=1), ""),
        (ServerState(0, 0, members=3, online=1, unreachable=1), ""),
        (ServerState(0, 0, members=1, online=0), "it is not an ONLINE member of its group"),
        (
            ServerState(0, 0, members=3, online=1, unreachable=2),
            "it cannot reach the majority of its group",
        ),
        (
            ServerState(0, 0, members=2, online=1, unreachable=1),
            "it cannot reach the majority of its group",
        ),
        (ServerState(0, 0, wsrep_on=1, wsrep_ready="ON"), ""),
        (ServerState(0, 0, wsrep_on=0, wsrep_ready="OFF"), ""),
        (
            ServerState(0, 0, wsrep_on="ON", wsrep_ready="OFF"),
            "it is not part of its Galera cluster",
        ),
    ],
)
def test_a_server_takes_writes_unless_its_state_forbids_it(
    state: ServerState, obstacle: str
) -> None:
    assert state.obstacle() == obstacle


# --- the choice, with fake connections ----------------------------------------------------------


class FakeServers:
    """Connections to servers by host name. A state that is an exception is raised on connect."""

    def __init__(self, **states: tuple[Any, ...] | BaseException) -> None:
        self.states = states
        self.tried: list[str] = []

    async def connect(self, *, host: str, **_: object) -> "FakeConnection":
        self.tried.append(host)
        await asyncio.sleep(0)
        state = self.states[host]
        if isinstance(state, BaseException):
            raise state
        return FakeConnection(state)

    def selector(self) -> HostSelector:
        return HostSelector([{"host": host, "port": 3306} for host in self.states], self.connect)


class FakeConnection:
    """A connection and its cursor. Without a group the account may not read its members."""

    def __init__(self, state: tuple[Any, ...], version: str = "8.4.6") -> None:
        self._state = state
        self._version = version
        self.description = [(name,) for name in ServerState._fields[: len(state)]]

    def get_server_info(self) -> str:
        return self._version

    def cursor(self) -> "FakeConnection":
        return self

    async def execute(self, statement: str) -> None:
        if "replication_group_members" in statement and len(self._state) == len(WRITABLE):
            raise OperationalError(1142, "SELECT command denied")

    async def fetchone(self) -> tuple[Any, ...]:
        return self._state

    async def ensure_closed(self) -> None:
        pass

    def close(self) -> None:
        pass


AWAY = OperationalError(2003, "Can't connect to MySQL server")


async def chosen(selector: HostSelector) -> str:
    return str((await selector.select())["host"])


async def test_the_first_host_that_takes_writes_is_chosen() -> None:
    servers = FakeServers(a=AWAY, b=READ_ONLY, c=WRITABLE, d=WRITABLE)

    assert await chosen(servers.selector()) == "c"


async def test_a_server_that_takes_writes_is_found_without_asking_the_others() -> None:
    servers = FakeServers(a=WRITABLE, b=WRITABLE)

    assert await chosen(servers.selector()) == "a"

    assert servers.tried == ["a"]


async def test_the_state_of_a_member_of_a_group_counts() -> None:
    servers = FakeServers(a=(0, 0, 1, 0, 0), b=(0, 0, 3, 1, 0))

    assert await chosen(servers.selector()) == "b"


class CheckedConnection:
    """A connection of the store that notes its statement; its server takes writes."""

    statement = ""

    async def fetch(self, statement: str, _: object) -> list[dict[str, Any]]:
        self.statement = statement
        return [{"read_only": 0, "innodb_read_only": 0}]

    async def commit(self) -> None:
        pass


@pytest.mark.parametrize(
    ("states", "statement"),
    [
        ({"a": READ_ONLY, "b": (0, 0, 3, 1, 0), "c": READ_ONLY}, GROUP_STATE),
        ({"a": AWAY, "b": WRITABLE, "c": (1, 0, 3, 1, 0)}, SERVER_STATE),
    ],
)
async def test_the_chosen_server_is_checked_by_the_statement_that_found_it(
    states: dict[str, Any], statement: str
) -> None:
    selector, connection = FakeServers(**states).selector(), CheckedConnection()
    assert await chosen(selector) == "b"

    await selector.check(cast("MySQLConnection", connection))

    assert connection.statement == statement


async def test_after_a_suspicion_the_last_server_is_asked_first() -> None:
    servers = FakeServers(a=READ_ONLY, b=WRITABLE)
    selector = servers.selector()
    assert await chosen(selector) == "b"
    servers.tried.clear()
    servers.states["a"] = WRITABLE

    selector.suspect()

    assert await chosen(selector) == "b"
    assert servers.tried == ["b"]


async def test_without_a_writable_server_the_error_has_the_reason_of_each() -> None:
    selector = FakeServers(a=AWAY, b=READ_ONLY).selector()

    with pytest.raises(StoreUnavailable) as caught:
        await selector.select()

    assert str(caught.value) == (
        "no server of DATABASE_URL takes writes: a:3306: the database cannot be reached: Can't "
        "connect to MySQL server (MySQL error 2003); b:3306: it is read-only"
    )
    assert caught.value.log_text == str(caught.value)
    assert caught.value.recovery_s == RECOVERY_S


async def test_a_server_that_does_not_answer_is_left_out() -> None:
    servers = FakeServers(a=WRITABLE, b=WRITABLE)

    async def hang(*, host: str, **more: object) -> FakeConnection:
        if host == "a":
            await asyncio.Event().wait()
        return await servers.connect(host=host, **more)

    selector = HostSelector(host_arguments("mysql://a,b/db"), hang, HostTimings(probe_s=0.01))

    assert await chosen(selector) == "b"


async def test_concurrent_callers_share_one_search() -> None:
    servers = FakeServers(a=READ_ONLY, b=READ_ONLY)
    selector = servers.selector()

    found = await asyncio.gather(*(selector.select() for _ in range(5)), return_exceptions=True)

    assert all(isinstance(one, StoreUnavailable) for one in found)
    assert servers.tried == ["a", "b"]
    servers.states["b"] = WRITABLE
    assert await chosen(selector) == "b"


async def test_a_single_host_is_not_checked() -> None:
    only = connect_arguments("mysql://127.0.0.1:9/db")

    assert await find_writable([only]) is only


# --- the connections of a store -----------------------------------------------------------------


class StubReplica(StubServer):
    """A stub server whose state can be set."""

    def __init__(self, state: tuple[int, int]) -> None:
        super().__init__()
        self.state = state
        self.fails("replication_group_members", lambda *_: error(1142, "42000"))
        self.fails("^SELECT @@GLOBAL.read_only", self._state)

    def _state(self, session: Session, _: str) -> bytes:
        names = ["read_only", "innodb_read_only"]
        session.rows(names, [[str(value) for value in self.state]])
        return b""

    @property
    def address(self) -> str:
        return self.url.partition("@")[2].partition("/")[0]

    def seen(self, text: str) -> int:
        return sum(text in statement for statement in self.statements)


@pytest.fixture
async def pair() -> AsyncIterator[list[StubReplica]]:
    async with AsyncExitStack() as stack:
        states = (READ_ONLY, WRITABLE)
        yield [await stack.enter_async_context(StubReplica(state)) for state in states]


def open_pair(pair: list[StubReplica], timings: HostTimings) -> Store:
    arguments = [connect_arguments(one.url) for one in pair]
    return MySQLStore(arguments[0], 2, hosts=HostSelector(arguments, timings=timings))


@pytest.fixture
async def store(pair: list[StubReplica]) -> AsyncIterator[Store]:
    first, second = pair
    store = await open_store(f"mysql://ann:secret@{first.address},{second.address}/shop")
    yield store
    await store.close()


SCHEMA_READ = "twelvefold_version"
"""In the first statement of `schema`."""


def swap(pair: list[StubReplica]) -> None:
    pair[0].state, pair[1].state = pair[1].state, pair[0].state


async def write(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("UPDATE seats SET taken = 1")


async def test_statements_go_to_the_server_that_takes_writes(
    pair: list[StubReplica], store: Store
) -> None:
    await write(store)

    assert [one.seen("UPDATE seats") for one in pair] == [0, 1]


async def test_each_new_connection_checks_its_server_once(
    pair: list[StubReplica], store: Store
) -> None:
    await write(store)
    checks = pair[1].seen("SELECT @@GLOBAL.read_only AS")
    await write(store)

    assert pair[1].seen("SELECT @@GLOBAL.read_only AS") == checks


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1290, "The server is running with the --read-only option so it cannot execute this"),
        (1836, "Running in read-only mode"),
        (1047, "WSREP has not yet prepared node for application use"),
    ],
)
async def test_after_an_error_of_a_read_only_server_the_next_attempt_is_elsewhere(
    pair: list[StubReplica], store: Store, number: int, text: str
) -> None:
    await write(store)
    swap(pair)
    pair[1].fails("UPDATE seats", lambda *_: error(number, text=text))

    with pytest.raises(StoreUnavailable):
        await write(store)
    await write(store)

    assert [one.seen("UPDATE seats") for one in pair] == [1, 2]


async def test_an_idle_connection_to_a_replaced_server_serves_no_reads(
    pair: list[StubReplica],
) -> None:
    store = open_pair(pair, HostTimings(check_interval_s=0.0))
    await store.schema()
    swap(pair)

    await store.schema()

    assert [one.seen(SCHEMA_READ) for one in pair] == [1, 1]
    await store.close()


async def test_a_server_that_is_gone_is_replaced_before_a_statement_is_sent(
    pair: list[StubReplica],
) -> None:
    store = open_pair(pair, HostTimings(check_interval_s=0.0))
    await write(store)
    swap(pair)
    pair[1].refuses_connections(error(1040, "08004"))
    pair[1].hang_up()

    await write(store)

    assert [one.seen("UPDATE seats") for one in pair] == [1, 1]
    await store.close()


async def test_a_check_without_an_answer_is_an_outage(pair: list[StubReplica]) -> None:
    loop_clock, wait_s = LoopClock(), 20.0
    store = open_pair(pair, HostTimings(probe_s=wait_s, check_interval_s=0.0, check_s=wait_s))
    await write(store)
    pair[1].heal()
    seen = pair[1].seen("@@GLOBAL.read_only")
    pair[1].fails("@@GLOBAL.read_only", lambda *_: b"")

    writing = asyncio.ensure_future(write(store))
    for number in (1, 2):  # the check, and the probe of the server after it
        while pair[1].seen("@@GLOBAL.read_only") < seen + number:
            await asyncio.sleep(0.01)
        loop_clock.let_pass(wait_s)
    with pytest.raises(StoreUnavailable, match=f"no answer within {wait_s:g} s") as caught:
        await writing

    assert caught.value.recovery_s == RECOVERY_S
    await store.close()


async def test_a_read_without_an_answer_may_be_a_failover(pair: list[StubReplica]) -> None:
    arguments = [connect_arguments(one.url) for one in pair]
    loop_clock, wait_s = LoopClock(), 20.0
    timeouts = Timeouts(read_s=wait_s)
    store = MySQLStore(arguments[0], 2, timeouts=timeouts, hosts=HostSelector(arguments))
    await store.schema()
    seen = pair[1].seen(SCHEMA_READ)
    pair[1].fails(SCHEMA_READ, lambda *_: b"")

    reading = asyncio.ensure_future(store.schema())
    while pair[1].seen(SCHEMA_READ) == seen:
        await asyncio.sleep(0.01)
    loop_clock.let_pass(wait_s)
    with pytest.raises(StoreUnavailable, match=f"did not answer within {wait_s:g} s") as caught:
        await reading

    assert caught.value.recovery_s == RECOVERY_S
    await store.close()


async def test_connections_in_use_end_when_another_server_takes_over(
    pair: list[StubReplica], store: Store
) -> None:
    pair[1].fails("UPDATE hangs", lambda *_: b"")
    hanging = asyncio.create_task(hang(store))
    await write(store)
    swap(pair)
    pair[1].fails("UPDATE seats", lambda *_: error(1836))
    with pytest.raises(StoreUnavailable):
        await write(store)

    await write(store)

    with pytest.raises(StoreUnavailable) as caught:
        await hanging
    # It may have hung for longer than a request is retried for without a failover.
    assert caught.value.recovery_s == RECOVERY_S


async def hang(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("UPDATE hangs SET taken = 1")


async def test_a_read_only_server_loses_its_idle_connections_also_without_other_hosts() -> None:
    async with StubReplica(WRITABLE) as server:
        store = await open_store(server.url)
        await store.schema()
        server.fails("UPDATE seats", lambda *_: error(1836))

        with pytest.raises(StoreUnavailable):
            await write(store)
        await store.schema()

        # One for the write, and one for each read.
        assert server.seen("SET SESSION time_zone") == 3
        await store.close()


# --- a real cluster -----------------------------------------------------------------------------


@pytest.mark.mysql
@pytest.mark.slow
async def test_a_node_of_galera_without_its_majority_is_not_used() -> None:
    urls = galera()
    hosts = [connect_arguments(url) for url in urls]
    assert [one.obstacle for one in await report_hosts(hosts)] == ["", "", ""]
    try:
        for number in (2, 3):
            kill_node("galera", number)
        async with asyncio.timeout(60):
            while not (obstacle := (await report_hosts(hosts[:1]))[0].obstacle):
                await asyncio.sleep(0.2)
    finally:
        # A node without a majority cannot restore the others: all start again.
        kill_node("galera", 1)
        join_node("galera", 1, 2, 3)

    assert obstacle == "it is not part of its Galera cluster"
