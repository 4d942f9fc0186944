"""Faults of a database of several servers. Recovery starts at the loss of a server."""

import asyncio
from typing import ClassVar

from tests.acceptance.chaos.admin import Admin
from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.scenes.scene import Scene
from tests.acceptance.chaos.shared import Cluster
from tests.acceptance.chaos.terms import AT_ONCE, Terms

AWAY_S = 5.0
"""How long a server stays down after all runs and mails have continued without it."""
PRIMARY = (
    "select member_port from performance_schema.replication_group_members"
    " where member_role = 'PRIMARY' and member_state = 'ONLINE'"
)
SYNCED = (
    "select count(*) from information_schema.global_status"
    " where variable_name = 'wsrep_local_state' and variable_value = '4'"
)


class _ClusterScene(Scene):
    """On the servers of `cluster`, which is started for the scene."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(Terms(AT_ONCE, cluster=cluster))
        self.missing = cluster.missing
        self.cluster = cluster
        self._seen = 0

    def seen(self, arena: Arena) -> int:
        return self._seen


class GaleraKilled(_ClusterScene):
    """The node of a Galera cluster that is in use is ended by SIGKILL, and joins again."""

    name: ClassVar[str] = "galera-node-killed"

    def __init__(self) -> None:
        super().__init__(galera())

    async def faults(self, arena: Arena) -> None:
        # The processes use the first node; after its loss the next, also when it is back.
        for node in ("1", "2"):
            await self.cluster.do("kill", node)
            self._seen += 1
            await arena.recover()
            await asyncio.sleep(AWAY_S)
            await self.cluster.do("join", node)


class GaleraIsolated(_ClusterScene):
    """The node of a Galera cluster that is in use is isolated, keeps running, and joins again."""

    name: ClassVar[str] = "galera-node-isolated"

    def __init__(self) -> None:
        super().__init__(galera())

    async def faults(self, arena: Arena) -> None:
        for url in self.cluster.nodes[:2]:
            node = Admin(url)
            await _isolate(node, "1")
            self._seen += 1
            await arena.recover()
            await asyncio.sleep(AWAY_S)
            await _isolate(node, "0")
            while not await node.number(SYNCED):
                await asyncio.sleep(0.5)
            await node.close()


async def _isolate(node: Admin, value: str) -> None:
    await node.rows(f"set global wsrep_provider_options = 'gmcast.isolate={value}'")


class PrimaryKilled(_ClusterScene):
    """The primary of a replication group is ended by SIGKILL, and joins again as a secondary."""

    name: ClassVar[str] = "group-primary-killed"

    def __init__(self) -> None:
        super().__init__(Cluster("group", "set session group_replication_consistency = 'BEFORE'"))

    async def faults(self, arena: Arena) -> None:
        port = await arena.admin.number(PRIMARY)
        ports = [int(url.rpartition("/")[0].rpartition(":")[2]) for url in self.cluster.nodes]
        node = str(ports.index(port) + 1)
        await self.cluster.do("kill", node)
        self._seen += 1
        await arena.recover()
        await self.cluster.do("join", node)


def galera() -> Cluster:
    return Cluster("galera", "set session wsrep_sync_wait = 1")
