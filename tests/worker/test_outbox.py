"""Letters leave at least once: when, how often they are tried, and what is noted of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.engine.stage import Stage
from twelvefold.core.ports import Mail, OutboxMessage, Store
from twelvefold.engine import retry as patience
from twelvefold.errors import MailRejected, MailUnavailable, StoreFailed, StoreUnavailable
from twelvefold.services.mail.memory import MemoryMailer
from twelvefold.worker import outbox
from twelvefold.worker.outbox import ATTEMPTS, LONGEST_RETRY_S, OutboxSender, mail_of, retry_s

POLL_S = 0.02


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.process().store


async def post(store: Store, *names: str) -> None:
    async with store.write() as tx:
        for name in names:
            await tx.send_mail(f"{name}@example.org", "Hi", f"Dear {name}", html=f"<p>{name}</p>")


@asynccontextmanager
async def delivering(store: Store, *mailers: MemoryMailer) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for mailer in mailers:
            group.create_task(OutboxSender(store, mailer, POLL_S).run(stop))
        yield stop
        stop.set()


async def until(store: Store, holds: Callable[[list[OutboxMessage]], bool]) -> list[OutboxMessage]:
    while not holds(letters := await store.letters(limit=100)):
        await asyncio.sleep(0.01)
    return letters


def all_sent(letters: list[OutboxMessage]) -> bool:
    return all(letter.sent_at_us for letter in letters)


async def make_due(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute("update outbox set due_at = 0")


async def test_a_letter_is_sent_once_and_noted(store: Store) -> None:
    await post(store, "ann")

    async with delivering(store, mailer := MemoryMailer()):
        (letter,) = await until(store, all_sent)
        await asyncio.sleep(0.1)

    assert mailer.sent == [Mail(letter.id, "ann@example.org", "Hi", "Dear ann", "<p>ann</p>")]
    assert (letter.attempts, letter.error) == (1, "")


async def test_of_several_postmen_one_sends_a_letter(store: Store) -> None:
    names = [f"ann{number}" for number in range(60)]
    await post(store, *names)
    mailers = [MemoryMailer() for _ in range(4)]

    async with delivering(store, *mailers):
        await until(store, all_sent)

    sent = [mail.to for mailer in mailers for mail in mailer.sent]
    assert sorted(sent) == sorted(f"{name}@example.org" for name in names)


async def test_a_letter_that_did_not_get_out_is_due_later(store: Store) -> None:
    await post(store, "ann")
    mailer = MemoryMailer(lambda _: MailUnavailable("greylisted"))

    async with delivering(store, mailer):
        (letter,) = await until(store, lambda letters: bool(letters[0].error))
        await asyncio.sleep(0.1)

    assert (letter.attempts, letter.error) == (1, "greylisted")
    assert (letter.sent_at_us, letter.dead_at_us) == (None, None)
    assert letter.due_at_us > 0
    assert await store.due_letters(10) == []


async def test_it_is_tried_again_when_it_is_due(store: Store) -> None:
    await post(store, "ann")
    answers = [MailUnavailable("greylisted"), None]
    mailer = MemoryMailer(lambda _: answers.pop(0))

    async with delivering(store, mailer):
        await until(store, lambda letters: bool(letters[0].error))
        await make_due(store)
        (letter,) = await until(store, all_sent)

    assert letter.attempts == 2
    assert [mail.id for mail in mailer.sent] == [letter.id]


async def test_a_letter_that_is_rejected_is_dead_until_somebody_says_otherwise(
    store: Store,
) -> None:
    await post(store, "ann")
    answers = [MailRejected("550 no such user"), None]
    mailer = MemoryMailer(lambda _: answers.pop(0))

    async with delivering(store, mailer):
        (dead,) = await until(store, lambda letters: bool(letters[0].dead_at_us))
        await make_due(store)
        await asyncio.sleep(0.1)
        tried = len(answers)
        await store.retry_letter(dead.id)
        await until(store, all_sent)

    assert (dead.error, tried) == ("550 no such user", 1)
    assert await store.letters(limit=10, state="dead") == []


async def test_after_the_last_attempt_a_letter_is_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ATTEMPTS", 3)
    monkeypatch.setattr(outbox, "FIRST_RETRY_S", 0.01)
    await post(store, "ann")

    async with delivering(store, MemoryMailer(lambda _: MailUnavailable("away"))):
        (letter,) = await until(store, lambda letters: bool(letters[0].dead_at_us))

    assert (letter.attempts, letter.error) == (3, "away")


async def test_a_postman_that_dies_before_its_note_leaves_a_second_copy_under_the_same_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    mailer = MemoryMailer()

    async def dies(letter: OutboxMessage) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "letter_sent", dies)
        patch.setattr(outbox, "NOTE_S", 0.01)
        async with delivering(store, mailer):
            while not mailer.sent:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
    held = await store.due_letters(10)
    await make_due(store)
    async with delivering(store, mailer):
        (letter,) = await until(store, all_sent)

    assert held == []
    assert [mail.id for mail in mailer.sent] == [letter.id, letter.id]


async def test_what_is_under_way_when_it_stops_is_finished(store: Store) -> None:
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

    letters = await store.letters(limit=100)
    sent = {letter.id for letter in letters if letter.sent_at_us}
    assert 0 < len(sent) < 12
    assert sent == {mail.id for mail in mailer.sent}
    assert all(letter.attempts == 0 for letter in letters if letter.id not in sent)


async def test_a_letter_that_breaks_the_mailer_does_not_hold_up_the_others(store: Store) -> None:
    def answer(mail: Mail) -> Exception | None:
        return RuntimeError("a bug") if mail.to.startswith("bad") else None

    await post(store, "bad", "ann")

    async with delivering(store, mailer := MemoryMailer(answer)):
        await until(store, lambda letters: all(one.sent_at_us or one.error for one in letters))

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]
    errors = {letter.error for letter in await store.letters(limit=10)}
    assert errors == {"", "RuntimeError: a bug"}


async def test_a_server_that_never_answers_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(MemoryMailer):
        async def send(self, mail: Mail) -> None:
            await asyncio.sleep(3600)

    monkeypatch.setattr(outbox, "SEND_S", 0.05)
    await post(store, "ann")

    async with delivering(store, Silent()):
        (letter,) = await until(store, lambda letters: bool(letters[0].error))

    assert letter.error == "the mail server was silent for 0.05 s"


async def test_letters_that_hang_keep_no_other_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(MemoryMailer):
        hung = 0
        gate = asyncio.Event()

        async def send(self, mail: Mail) -> None:
            if mail.to.startswith("hangs"):
                self.hung += 1
                await self.gate.wait()
            await super().send(mail)

    monkeypatch.setattr(outbox, "SLOW_S", 0.01)
    hanging = [f"hangs{number}" for number in range(outbox.SENDERS - 1)]
    await post(store, *hanging, *(f"ann{number}" for number in range(20)))
    mailer = Hanging()

    async with delivering(store, mailer):
        while len(mailer.sent) < 20 or mailer.hung < len(hanging):
            await asyncio.sleep(0.01)
        await post(store, "late")
        while len(mailer.sent) < 21:
            await asyncio.sleep(0.01)
        mailer.gate.set()
        letters = await until(store, all_sent)

    assert {letter.attempts for letter in letters} == {1}


async def test_an_outbox_that_cannot_be_read_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    usual, looks = store.due_letters, 0

    async def due_letters(limit: int) -> list[OutboxMessage]:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise StoreUnavailable("the database cannot be reached")
        return await usual(limit)

    monkeypatch.setattr(store, "due_letters", due_letters)
    async with delivering(store, mailer := MemoryMailer()):
        await until(store, all_sent)

    assert len(mailer.sent) == 1


def test_retries_come_later_and_later_and_end() -> None:
    pauses = [retry_s(attempt) for attempt in range(1, ATTEMPTS + 1)]

    *others, last = pauses
    assert last is None
    waits = [one for one in others if one is not None]
    assert len(waits) == ATTEMPTS - 1
    assert waits[0] <= outbox.FIRST_RETRY_S
    assert all(one <= LONGEST_RETRY_S for one in waits)
    assert 8 * 3600 < sum(waits) < 24 * 3600


def test_a_letter_that_is_no_mail_is_rejected() -> None:
    with pytest.raises(MailRejected, match="the letter's body is no mail"):
        mail_of(OutboxMessage("1", "", "mail", {}, 0, 0, None, None, ""))


@pytest.mark.parametrize("body", ["[1]", "{", '{"to": 1}'])
async def test_a_letter_that_cannot_be_read_keeps_no_other_waiting(store: Store, body: str) -> None:
    await post(store, "ann")
    async with store.write() as tx:
        await tx.execute(
            "insert into outbox (id, thread_id, kind, body, attempts, due_at) "
            "values ('broken', '', 'mail', :body, 0, 0)",
            body=body,
        )
    mailer = MemoryMailer()

    async with delivering(store, mailer):
        letters = await until(store, all_over)

    assert [mail.to for mail in mailer.sent] == ["ann@example.org"]
    assert [one.id for one in letters if one.dead_at_us is not None] == ["broken"]


def all_over(letters: list[OutboxMessage]) -> bool:
    return all(one.sent_at_us or one.dead_at_us for one in letters)


class Watched(MemoryMailer):
    """Takes its time for a mail, and counts how many are under way."""

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self.most = 0
        self._takes_s = takes_s
        self._under_way = 0

    async def send(self, mail: Mail) -> None:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await asyncio.sleep(self._takes_s)
        self._under_way -= 1
        await super().send(mail)


@pytest.mark.parametrize(("slow_s", "most"), [(60.0, 1), (0.001, outbox.SENDERS)])
async def test_only_a_slow_server_gets_several_mails_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, slow_s: float, most: int
) -> None:
    monkeypatch.setattr(outbox, "SLOW_S", slow_s)
    await post(store, *(f"ann{number}" for number in range(16)))

    async with delivering(store, mailer := Watched(0.05)):
        await until(store, all_sent)

    assert mailer.most == most


@pytest.mark.parametrize("name", ["claim_letter", "letter_sent"])
async def test_no_error_of_a_letter_ends_the_sender(
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


async def test_a_note_that_fails_for_longer_than_a_run_would_try_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(store, "ann")
    usual, failures = store.letter_sent, 0
    monkeypatch.setattr(patience.retry_unavailable, "__defaults__", (0.0,))

    async def denied(letter: OutboxMessage) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise StoreFailed("the database reports: UPDATE command denied")
        await usual(letter)

    monkeypatch.setattr(store, "letter_sent", denied)
    async with delivering(store, mailer := MemoryMailer()):
        await until(store, all_sent)

    assert len(mailer.sent) == 1
