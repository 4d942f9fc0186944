"""Messages are sent at least once: when, how often they are tried, and what is recorded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.engine.stage import Stage
from tests.waiting import HANG_S
from twelvefold.backoff import Backoff
from twelvefold.core.ports import Mail, OutboxMessage, Store
from twelvefold.errors import MailRejected, MailUnavailable, StoreFailed, StoreUnavailable
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.worker.outbox import (
    MAIL_BACKOFF,
    PARALLEL_SENDS,
    OutboxSender,
    SendPolicy,
    mail_of,
)

POLL_S = 0.02


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.process().store


async def post(store: Store, *names: str) -> None:
    async with store.write() as tx:
        for name in names:
            await tx.send_mail(f"{name}@example.org", "Hi", f"Dear {name}", html=f"<p>{name}</p>")


@asynccontextmanager
async def delivering(
    store: Store, *mailers: MemoryMailer, policy: SendPolicy | None = None
) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        for mailer in mailers:
            group.create_task(OutboxSender(store, mailer, POLL_S, policy=policy).run(stop))
        yield stop
        stop.set()


async def until(store: Store, holds: Callable[[list[OutboxMessage]], bool]) -> list[OutboxMessage]:
    while not holds(messages := await store.messages(limit=100)):
        await asyncio.sleep(0.01)
    return messages


def all_sent(messages: list[OutboxMessage]) -> bool:
    return all(message.sent_at_us for message in messages)


async def make_due(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("update outbox set due_at = 0")


async def test_a_message_is_sent_once_and_recorded(store: Store) -> None:
    await post(store, "ann")

    async with delivering(store, mailer := MemoryMailer()):
        (message,) = await until(store, all_sent)
        await asyncio.sleep(0.1)

    assert mailer.sent == [Mail(message.id, "ann@example.org", "Hi", "Dear ann", "<p>ann</p>")]
    assert (message.attempts, message.error) == (1, "")


async def test_one_of_several_senders_sends_a_message(store: Store) -> None:
    names = [f"ann{number}" for number in range(60)]
    await post(store, *names)
    mailers = [MemoryMailer() for _ in range(4)]

    async with delivering(store, *mailers):
        await until(store, all_sent)

    sent = [mail.to for mailer in mailers for mail in mailer.sent]
    assert sorted(sent) == sorted(f"{name}@example.org" for name in names)


async def test_a_message_that_could_not_be_sent_is_due_later(store: Store) -> None:
    await post(store, "ann")
    mailer = MemoryMailer(lambda _: MailUnavailable("greylisted"))

    async with delivering(store, mailer):
        (message,) = await until(store, lambda messages: bool(messages[0].error))
        await asyncio.sleep(0.1)

    assert (message.attempts, message.error) == (1, "greylisted")
    assert (message.sent_at_us, message.dead_at_us) == (None, None)
    assert message.due_at_us > 0
    assert await store.due_messages(10) == []


async def test_it_is_retried_when_it_is_due(store: Store) -> None:
    await post(store, "ann")
    answers = [MailUnavailable("greylisted"), None]
    mailer = MemoryMailer(lambda _: answers.pop(0))

    async with delivering(store, mailer):
        await until(store, lambda messages: bool(messages[0].error))
        await make_due(store)
        (message,) = await until(store, all_sent)

    assert message.attempts == 2
    assert [mail.id for mail in mailer.sent] == [message.id]


async def test_a_rejected_message_is_dead_until_an_operator_retries_it(
    store: Store,
) -> None:
    await post(store, "ann")
    answers = [MailRejected("550 no such user"), None]
    mailer = MemoryMailer(lambda _: answers.pop(0))

    async with delivering(store, mailer):
        (dead,) = await until(store, lambda messages: bool(messages[0].dead_at_us))
        await make_due(store)
        await asyncio.sleep(0.1)
        unused = len(answers)
        await store.retry_message(dead.id)
        await until(store, all_sent)

    assert (dead.error, unused) == ("550 no such user", 1)
    assert await store.messages(limit=10, state="dead") == []


async def test_after_the_last_attempt_a_message_is_dead(
    store: Store,
) -> None:
    await post(store, "ann")
    mailer = MemoryMailer(lambda _: MailUnavailable("away"))
    policy = SendPolicy(max_attempts=3, backoff=Backoff(0.01, 1.0))

    async with delivering(store, mailer, policy=policy):
        (message,) = await until(store, lambda messages: bool(messages[0].dead_at_us))

    assert (message.attempts, message.error) == (3, "away")


async def test_a_sender_that_dies_before_the_record_causes_a_second_copy_with_the_same_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    mailer = MemoryMailer()

    async def dies(message: OutboxMessage) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "message_sent", dies)
        async with delivering(store, mailer, policy=SendPolicy(record_timeout_s=0.01)):
            while not mailer.sent:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
    held = await store.due_messages(10)
    await make_due(store)
    async with delivering(store, mailer):
        (message,) = await until(store, all_sent)

    assert held == []
    assert [mail.id for mail in mailer.sent] == [message.id, message.id]


async def test_messages_that_are_being_sent_at_the_stop_are_finished(store: Store) -> None:
    class Slow(MemoryMailer):
        began = asyncio.Event()

        async def send(self, mail: Mail) -> None:
            self.began.set()
            await asyncio.sleep(0.1)
            await super().send(mail)

    await post(store, *(f"ann{number}" for number in range(12)))
    mailer = Slow()
    async with delivering(store, mailer):
        await mailer.began.wait()

    messages = await store.messages(limit=100)
    sent = {message.id for message in messages if message.sent_at_us}
    assert 0 < len(sent) < 12
    assert sent == {mail.id for mail in mailer.sent}
    assert all(message.attempts == 0 for message in messages if message.id not in sent)


async def test_a_message_on_which_the_mailer_fails_does_not_delay_others(store: Store) -> None:
    def answer(mail: Mail) -> Exception | None:
        return RuntimeError("a bug") if mail.to.startswith("bad") else None

    await post(store, "bad", "ann")

    async with delivering(store, mailer := MemoryMailer(answer)):
        await until(store, lambda messages: all(one.sent_at_us or one.error for one in messages))

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]
    errors = {message.error for message in await store.messages(limit=10)}
    assert errors == {"", "RuntimeError: a bug"}


async def test_a_server_that_does_not_answer_is_given_up(store: Store) -> None:
    class Silent(MemoryMailer):
        async def send(self, mail: Mail) -> None:
            await asyncio.sleep(3600)

    await post(store, "ann")

    async with delivering(store, Silent(), policy=SendPolicy(send_timeout_s=0.05)):
        (message,) = await until(store, lambda messages: bool(messages[0].error))

    assert message.error == "the mail server was silent for 0.05 s"


async def test_hanging_messages_do_not_delay_others(store: Store) -> None:
    class Hanging(MemoryMailer):
        hung = 0
        gate = asyncio.Event()

        async def send(self, mail: Mail) -> None:
            if mail.to.startswith("hangs"):
                self.hung += 1
                await self.gate.wait()
            await super().send(mail)

    hanging = [f"hangs{number}" for number in range(PARALLEL_SENDS - 1)]
    await post(store, *hanging, *(f"ann{number}" for number in range(20)))
    mailer = Hanging()

    async with delivering(store, mailer, policy=SendPolicy(slow_s=0.01)):
        while len(mailer.sent) < 20 or mailer.hung < len(hanging):
            await asyncio.sleep(0.01)
        await post(store, "late")
        while len(mailer.sent) < 21:
            await asyncio.sleep(0.01)
        mailer.gate.set()
        messages = await until(store, all_sent)

    assert {message.attempts for message in messages} == {1}


async def test_reading_the_outbox_is_retried(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await post(store, "ann")
    usual, looks = store.due_messages, 0

    async def due_messages(limit: int) -> list[OutboxMessage]:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise StoreUnavailable("the database cannot be reached")
        return await usual(limit)

    monkeypatch.setattr(store, "due_messages", due_messages)
    async with delivering(store, mailer := MemoryMailer()):
        await until(store, all_sent)

    assert len(mailer.sent) == 1


def test_retries_have_growing_pauses_and_end_after_half_a_day() -> None:
    policy = SendPolicy()

    *pauses, last = [policy.pause_s(attempt) for attempt in range(1, policy.max_attempts + 1)]

    assert last is None
    waits = [one for one in pauses if one is not None]
    assert len(waits) == policy.max_attempts - 1
    assert waits[0] <= MAIL_BACKOFF.first_s
    assert all(one <= MAIL_BACKOFF.longest_s for one in waits)
    assert 8 * 3600 < sum(waits) < 24 * 3600


def test_a_message_that_is_no_mail_is_rejected() -> None:
    with pytest.raises(MailRejected, match="the message's body is no mail"):
        mail_of(OutboxMessage("1", "", "mail", {}, 0, 0, None, None, ""))


@pytest.mark.parametrize("body", ["[1]", "{", '{"to": 1}'])
async def test_a_message_that_cannot_be_read_does_not_delay_others(store: Store, body: str) -> None:
    await post(store, "ann")
    async with store.write() as tx:
        await tx.execute(
            "insert into outbox (id, thread_id, kind, body, attempts, due_at) "
            "values ('broken', '', 'mail', :body, 0, 0)",
            body=body,
        )
    mailer = MemoryMailer()

    async with delivering(store, mailer):
        messages = await until(store, all_over)

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]
    assert [one.id for one in messages if one.dead_at_us is not None] == ["broken"]


def all_over(messages: list[OutboxMessage]) -> bool:
    return all(one.sent_at_us or one.dead_at_us for one in messages)


class Watched(MemoryMailer):
    """Sends mails when the test allows it, and counts how many are sent in parallel."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.let = asyncio.Event()
        self._under_way = 0

    async def send(self, mail: Mail) -> None:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await self.let.wait()
        self._under_way -= 1
        await super().send(mail)


@pytest.mark.parametrize(("slow_s", "most"), [(HANG_S, 1), (0.001, PARALLEL_SENDS)])
async def test_only_a_slow_server_gets_several_mails_in_parallel(
    store: Store, slow_s: float, most: int
) -> None:
    await post(store, *(f"ann{number}" for number in range(16)))

    async with delivering(store, mailer := Watched(), policy=SendPolicy(slow_s=slow_s)):
        while mailer.most < most:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        mailer.let.set()
        await until(store, all_sent)

    assert mailer.most == most


@pytest.mark.parametrize("name", ["claim_message", "message_sent"])
async def test_no_error_of_one_message_ends_the_sender(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await post(store, "ann")
    usual, failures = getattr(store, name), 0

    async def fail_once(*args: object) -> object:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise KeyError("a bug")
        return await usual(*args)

    monkeypatch.setattr(store, name, fail_once)
    async with delivering(store, MemoryMailer()):
        while not failures:
            await asyncio.sleep(0.01)
        await make_due(store)
        await until(store, all_sent)


async def test_the_record_of_an_outcome_is_retried_after_an_error_that_may_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    usual, failures = store.message_sent, 0

    async def denied(message: OutboxMessage) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise StoreFailed("the database reports: UPDATE command denied")
        await usual(message)

    monkeypatch.setattr(store, "message_sent", denied)
    async with delivering(store, mailer := MemoryMailer()):
        await until(store, all_sent)

    assert len(mailer.sent) == 1
