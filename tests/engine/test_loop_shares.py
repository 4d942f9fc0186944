"""Shares of the event loop's time: measuring, charging and delays."""

import asyncio
from collections.abc import Callable

import pytest

from twelvefold.engine.shares import ANONYMOUS, ANONYMOUS_SHARE, MAX_DEBT_S, PRESENT_S, LoopShares

SHARE = 0.25


class Time:
    """A clock that a test sets; `used` is the time that the loop has spent."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 0.0

    def shares(self) -> LoopShares:
        return LoopShares(SHARE, burst_s=0, clock=lambda: self.now, used_s=lambda: self.used)


def with_others(time: Time) -> LoopShares:
    shares = time.shares()
    shares.charge("bob", 0)
    return shares


def test_an_owner_that_has_used_nothing_does_not_wait() -> None:
    assert with_others(Time()).delay_s("ann") == 0


def test_the_delay_is_the_excess_divided_by_the_share() -> None:
    time = Time()
    shares = with_others(time)
    shares.charge("ann", 0.1)
    assert shares.delay_s("ann") == pytest.approx(0.1 / SHARE)

    time.now += 0.2

    assert shares.delay_s("ann") == pytest.approx(0.1 / SHARE - 0.2)


def test_a_principal_alone_does_not_wait() -> None:
    time = Time()
    shares = with_others(time)
    time.now += PRESENT_S + 0.01
    shares.charge("ann", 0.1)

    assert shares.delay_s("ann") == 0


def test_requests_without_a_key_do_not_limit_a_principal() -> None:
    shares = Time().shares()
    shares.charge(f"{ANONYMOUS}192.0.2.1", 0.1)
    shares.charge("ann", 0.1)

    assert shares.delay_s("ann") == 0
    assert shares.delay_s(f"{ANONYMOUS}192.0.2.1") > 0.1 / ANONYMOUS_SHARE - 0.01


def test_the_longest_delay_is_the_same_for_all() -> None:
    shares = with_others(Time())
    owners = "ann", f"{ANONYMOUS}192.0.2.1"
    for owner in owners:
        shares.charge(owner, 60)

    assert [shares.delay_s(one) for one in owners] == pytest.approx([MAX_DEBT_S / SHARE] * 2)


def test_an_unused_account_is_forgotten() -> None:
    time = Time()
    shares = with_others(time)
    time.now += PRESENT_S + MAX_DEBT_S / SHARE + 0.1

    shares.charge("ann", 0)

    assert len(shares) == 1


async def test_each_step_of_some_work_is_charged() -> None:
    time = Time()
    shares = with_others(time)

    async def work() -> str:
        for _ in range(3):
            time.used += 0.01
            await asyncio.sleep(0)
            time.used += 0.02
        return "done"

    assert await shares.measured("ann", work) == "done"
    assert shares.delay_s("ann") == pytest.approx(0.09 / SHARE)


async def test_the_time_of_other_tasks_is_not_charged() -> None:
    time = Time()
    shares = with_others(time)
    let = asyncio.Event()
    waiting = asyncio.create_task(shares.measured("ann", let.wait))
    await asyncio.sleep(0)
    time.used += 5
    let.set()

    await waiting

    assert shares.delay_s("ann") == 0


async def test_the_average_cost_is_charged_before_the_work() -> None:
    time = Time()
    shares = with_others(time)
    let = asyncio.Event()

    async def work() -> None:
        time.used += 0.05
        await let.wait()

    let.set()
    await shares.measured("ann", work)
    time.now += 2
    shares.charge("bob", 0)
    let.clear()
    running = asyncio.create_task(shares.measured("ann", let.wait))
    await asyncio.sleep(0)

    assert shares.delay_s("ann") > 0.004 / SHARE
    let.set()
    await running
    assert shares.delay_s("ann") == 0


@pytest.mark.parametrize("catch", [True, False], ids=["caught", "not caught"])
async def test_cancelled_work_is_cancelled(catch: bool) -> None:
    shares = with_others(Time())
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            if not catch:
                raise

    task = asyncio.create_task(shares.measured("ann", work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert (task.cancelled(), ended) == (not catch, ["cancelled"])


@pytest.mark.parametrize("error", [ValueError, KeyError], ids=["value", "key"])
async def test_the_error_of_the_work_is_raised(error: Callable[[str], Exception]) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise error("no")

    with pytest.raises((ValueError, KeyError), match="no"):
        await with_others(Time()).measured("ann", work)
