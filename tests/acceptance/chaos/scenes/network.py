"""Faults of the network between the workers and the database, most of them around a COMMIT."""

import asyncio
from typing import ClassVar

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.proxy import CommitFault
from tests.acceptance.chaos.scenes.scene import LONG_FAULT_S, Scene
from tests.acceptance.chaos.terms import AT_ONCE, LEASE_S, Terms


class CommitLate(Scene):
    """The response to COMMIT arrives after the lease's end, and renewals hang meanwhile."""

    name: ClassVar[str] = "commit-late"

    def __init__(self) -> None:
        super().__init__(Terms(through_proxies=True))

    async def faults(self, arena: Arena) -> None:
        for proxy in arena.proxies * 2:
            proxy.hold((1.3 * LEASE_S, 3 * LEASE_S))
            await asyncio.sleep(2 * LEASE_S)
            # The last COMMITs are answered while renewals still hang.
            proxy.stop_delaying()
            await asyncio.sleep(3 * LEASE_S)
            proxy.let_go()
            await arena.recover()

    def seen(self, arena: Arena) -> int:
        late = sum(proxy.late for proxy in arena.proxies)
        held = sum(proxy.held for proxy in arena.proxies)
        return min(late, held)


class _AtCommits(Scene):
    """One of `kinds` is applied to a share of the COMMITs."""

    kinds: ClassVar[tuple[CommitFault, ...]]

    def __init__(self) -> None:
        super().__init__(Terms(AT_ONCE, through_proxies=True))

    async def faults(self, arena: Arena) -> None:
        for proxy in arena.proxies:
            proxy.begin_faults(self.kinds)
        await asyncio.sleep(LONG_FAULT_S)
        for proxy in arena.proxies:
            proxy.end_faults()
        await arena.recover()

    def seen(self, arena: Arena) -> int:
        return sum(proxy.faults for proxy in arena.proxies)


class Cut(_AtCommits):
    """Connections are reset before the server has the COMMIT, or before it has answered."""

    name: ClassVar[str] = "connections-cut"
    kinds = ("cut_before", "cut_after")


class Delayed(_AtCommits):
    """COMMIT and its response each take up to two seconds longer."""

    name: ClassVar[str] = "connections-delayed"
    kinds = ("delayed",)


class BlackHoled(_AtCommits):
    """Packets are lost in both directions without an error, and are forwarded again later."""

    name: ClassVar[str] = "connections-black-holed"
    kinds = ("lost_before", "lost_after")


class HalfClosed(_AtCommits):
    """One direction of the connection is closed, and the other stays open."""

    name: ClassVar[str] = "connections-half-closed"
    kinds = ("closed_to_server", "closed_to_client")
