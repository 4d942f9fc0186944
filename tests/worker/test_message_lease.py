"""A message is sent only under a lease: renewed meanwhile, and abandoned when it lapses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.engine.stage import Stage
from tests.waiting import HANG_S
from tests.worker.test_outbox import POLL_S, all_sent, post, until
from twelvefold.core.ports import Mail, OutboxMessage, Store
from twelvefold.errors import StoreUnavailable
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.worker.outbox import OutboxSender, SendPolicy

LEASE_S = 20.0


class Clock:
    """Advances by a millisecond at each call, and further when a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Slow(MemoryMailer):
    """Sends a mail when the test allows it."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.let, self.cut_off = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(self, mail: Mail) -> None:
        self.began.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cut_off.set()
            raise
        await super().send(mail)


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.process().store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def sending(
    store: Store, mailer: MemoryMailer, clock: Callable[[], float], lease_s: float = LEASE_S
) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        # Renewed every fiftieth of a second at LEASE_S, which a slow machine does not lose.
        policy = SendPolicy(lease_s=lease_s, renewals_per_lease=50 * LEASE_S)
        sender = OutboxSender(store, mailer, POLL_S, policy=policy, clock=clock)
        group.create_task(sender.run(stop))
        yield
        stop.set()


def renewals(
    store: Store, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], bool]
) -> asyncio.Event:
    """Answer renewals in place of the database; the event is set at the first."""
    asked = asyncio.Event()

    async def renew(message: OutboxMessage, for_s: float) -> bool:
        asked.set()
        return answer()

    monkeypatch.setattr(store, "renew_message", renew)
    return asked


async def test_the_lease_of_a_message_is_renewed_while_it_is_sent(
    store: Store, clock: Clock
) -> None:
    await post(store, "ann")

    async with sending(store, mailer := Slow(), clock):
        await mailer.began.wait()
        async with store.write() as tx:
            await tx.execute("update outbox set due_at = 1")
        while await store.due_messages(1):  # until it is renewed
            await asyncio.sleep(0.01)
        mailer.let.set()
        (message,) = await until(store, all_sent)

    assert message.attempts == 1


async def test_nothing_is_sent_if_the_claim_is_answered_after_the_lease(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    claim, late = store.claim_message, asyncio.Event()

    async def claimed(message: OutboxMessage, for_s: float) -> bool:
        held = await claim(message, for_s)
        clock.now += for_s
        late.set()
        return held

    monkeypatch.setattr(store, "claim_message", claimed)
    async with sending(store, mailer := MemoryMailer(), clock):
        await late.wait()

    (message,) = await store.messages(limit=1)
    assert mailer.sent == []
    assert (message.attempts, message.error, message.sent_at_us) == (1, "", None)


async def test_a_send_is_cancelled_when_its_lease_could_not_be_renewed_in_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> bool:
        raise StoreUnavailable("away")

    await post(store, "ann")
    asked = renewals(store, monkeypatch, away)

    async with sending(store, mailer := Slow(), time.monotonic, lease_s=0.5):
        await asked.wait()
        await mailer.cut_off.wait()

    (message,) = await store.messages(limit=1)
    assert mailer.sent == []
    assert (message.error, message.sent_at_us, message.dead_at_us) == ("", None, None)


async def test_a_send_is_cancelled_when_another_sender_has_the_message(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    renewals(store, monkeypatch, lambda: False)

    async with sending(store, mailer := Slow(), clock):
        await mailer.cut_off.wait()

    (message,) = await store.messages(limit=1)
    assert (message.error, message.sent_at_us) == ("", None)


async def test_a_renewal_that_raises_is_retried(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = iter([True])
    again = asyncio.Event()

    def answer() -> bool:
        if next(broken, False):
            raise RuntimeError("a bug")
        again.set()
        return True

    await post(store, "ann")
    renewals(store, monkeypatch, answer)

    async with sending(store, mailer := Slow(), clock):
        await again.wait()
        mailer.let.set()
        await until(store, all_sent)

    assert len(mailer.sent) == 1


async def test_a_mail_is_recorded_as_sent_even_if_its_lease_has_lapsed(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    note, renewed = store.message_sent, renewals(store, monkeypatch, lambda: False)

    async def slowly(message: OutboxMessage) -> None:
        await renewed.wait()
        clock.now += LEASE_S
        await note(message)

    monkeypatch.setattr(store, "message_sent", slowly)
    async with sending(store, mailer := MemoryMailer(), clock):
        (message,) = await until(store, all_sent)

    assert len(mailer.sent) == 1
    assert message.attempts == 1
