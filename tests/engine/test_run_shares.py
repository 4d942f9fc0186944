"""Runs at once of a key and of a principal: which slots a process takes, and when it waits."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from tests.builders import user
from tests.engine.stage import ANN, LIMITS, Stage
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Principal, Store, owner_of
from twelvefold.engine import run_shares
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.run_shares import CACHE_TTL_S, RunShares, SharesTaken
from twelvefold.errors import Conflict, MigrationUnfinished, StoreUnavailable

RUN = RunId(ThreadId("t"), 1)
KEY, WHO = owner_of("key", "key_1"), owner_of("principal", "ann")


@dataclass
class Slots:
    """The slots of a database: `taken` by owner; `own` are the limits of keys."""

    own: dict[str, int] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    fault: bool = False

    async def max_runs(self, id: str) -> int | None:
        self.calls.append(("max_runs", id))
        return self.own.get(id)

    async def take_slot(self, owner: str, limit: int, token: str, run: RunId | None) -> bool:
        self.calls.append(("take", owner, limit, run))
        return owner not in self.full

    async def fill_slot(self, owner: str, token: str, run: RunId) -> None:
        self.calls.append(("fill", owner, run))
        if self.fault:
            raise StoreUnavailable("gone")

    async def free_slot(self, owner: str, token: str) -> None:
        self.calls.append(("free", owner))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shares_in(slots: Slots, clock: Clock | None = None, **limits: int) -> RunShares:
    return RunShares(cast("Store", slots), **limits, clock=clock or Clock())


async def test_a_run_takes_a_slot_of_its_principal_and_one_of_its_key() -> None:
    slots = Slots()

    async with shares_in(slots, per_key=3, per_principal=5).slot("ann", "key_1", RUN):
        assert slots.calls == [
            ("max_runs", "key_1"),
            ("take", WHO, 5, RUN),
            ("take", KEY, 3, RUN),
        ]

    assert slots.calls[3:] == [("fill", WHO, RUN), ("fill", KEY, RUN)]


async def test_a_new_run_is_named_by_the_body() -> None:
    slots = Slots()

    async with shares_in(slots, per_principal=5).slot("ann", "") as slot:
        assert slots.calls == [("take", WHO, 5, None)]
    await slot.fill(RUN)

    assert slots.calls[1:] == [("fill", WHO, RUN)]


async def test_a_full_key_frees_the_slot_of_the_principal() -> None:
    slots = Slots(full={KEY})

    with pytest.raises(SharesTaken, match="3 runs of this key are in progress") as caught:
        async with shares_in(slots, per_key=3, per_principal=5).slot("ann", "key_1", RUN):
            pytest.fail("there is no slot")

    assert caught.value.owner == KEY
    assert slots.calls[-1] == ("free", WHO)


async def test_a_failed_claim_frees_the_slots() -> None:
    slots = Slots()

    with pytest.raises(Conflict):
        async with shares_in(slots, per_principal=5).slot("ann", "", RUN):
            raise Conflict("held")

    assert slots.calls[-1] == ("free", WHO)


async def test_a_slot_that_was_freed_is_not_filled() -> None:
    slots = Slots()

    async with shares_in(slots, per_principal=5).slot("ann", "", RUN) as slot:
        await slot.free()

    assert slots.calls[1:] == [("free", WHO)]


async def test_without_a_limit_nothing_is_taken() -> None:
    slots = Slots()

    async with shares_in(slots).slot("ann", "key_1", RUN):
        pass
    async with shares_in(slots, per_key=1).slot("ann", "", RUN):
        pass

    assert slots.calls == [("max_runs", "key_1")]


async def test_a_key_has_a_limit_of_its_own_which_is_read_again() -> None:
    slots, clock = Slots(own={"key_1": 2}), Clock()
    shares = shares_in(slots, clock, per_key=9)
    limits = []
    for seconds in (0.0, 1.0, CACHE_TTL_S + 2):
        clock.now = seconds
        async with shares.slot("ann", "key_1", RUN):
            limits += [call[2] for call in slots.calls if call[0] == "take"]
        slots.own["key_1"] = 4
        slots.calls = [call for call in slots.calls if call[0] == "max_runs"]

    assert limits == [2, 2, 4]
    assert slots.calls == [("max_runs", "key_1")] * 2


async def test_the_limits_of_few_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_shares, "MAX_KEYS", 1)
    slots = Slots()
    shares = shares_in(slots)
    for key in ("key_1", "key_2", "key_2", "key_1"):
        async with shares.slot("ann", key, RUN):
            pass

    assert [call[1] for call in slots.calls] == ["key_1", "key_2", "key_1"]


async def test_a_database_that_fails_then_does_not_stop_the_run() -> None:
    slots = Slots(fault=True)

    async with shares_in(slots, per_principal=5).slot("ann", "", RUN):
        pass

    assert slots.calls[-1] == ("fill", WHO, RUN)


async def test_a_run_waits_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_shares, "POLL_S", 0.0)
    slots, entered = Slots(full={WHO}), asyncio.Event()

    async def drive() -> None:
        async with shares_in(slots, per_principal=5).wait_for_slot("ann", "", RUN):
            entered.set()

    driving = asyncio.create_task(drive())
    while len(slots.calls) < 2:
        await asyncio.sleep(0)
    assert not entered.is_set()
    slots.full.clear()

    await driving
    assert entered.is_set()


async def test_the_limits_are_those_of_the_process(stage: Stage) -> None:
    services = stage.process(limits=replace(LIMITS, active_runs_per_principal=1))

    async with services.run_shares.slot("ann", ""):
        with pytest.raises(SharesTaken):
            async with services.run_shares.slot("ann", ""):
                pytest.fail("there is one slot")


async def test_the_tools_of_a_key_need_a_database_without_older_releases(stage: Stage) -> None:
    services = stage.process()
    async with services.store.write() as tx:
        await tx.execute("update twelvefold_releases set serves = '0003'")
    request = RunRequest("shop", ANN, [user("hi")], allowed_tools=("look",))

    with pytest.raises(MigrationUnfinished, match="a key with allowed tools needs"):
        await start_run(services, request)


def test_the_name_of_an_owner_is_short_and_of_ascii() -> None:
    assert owner_of("key", "key_1") == "key:key_1"
    assert owner_of("principal", "é" * 255) != owner_of("principal", "e" * 255)
    assert len(owner_of("principal", Principal("é" * 255).id)) == 50
