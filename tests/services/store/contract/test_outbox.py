"""Messages of the outbox, claimed by one sender at a time, on every database."""

import asyncio
from typing import Literal

import pytest

from tests.builders import finished
from tests.services.store.builders import FAR_US, LONG_S, leased, rows
from tests.services.store.mysql.server_reads import Reads
from twelvefold.core.ports import Append, MessageState, OutboxMessage, Store
from twelvefold.errors import Conflict, NotFound, TooLate
from twelvefold.observe.trace_context import TRACEPARENT
from twelvefold.services.store.sql.outbox import BATCH_SIZE, NOT_SHOWN
from twelvefold.worker.outbox import mail_of

SHORT_S = 0.05
BACKLOG = 3_000


async def mailed(store: Store, *subjects: str) -> list[OutboxMessage]:
    """Add messages and return them, oldest first."""
    for subject in subjects or ("Hi",):
        async with store.write() as tx:
            await tx.send_mail("ann@example.org", subject, "Welcome 😀")
        await asyncio.sleep(0.002)  # SQLite's clock has milliseconds
    return await store.due_messages(len(subjects) or 1)


async def waiting(store: Store) -> OutboxMessage:
    """Return the one message that was not sent."""
    (message,) = await store.messages(limit=10, state="waiting")
    return message


async def test_a_new_message_is_due(store: Store, rival: Store) -> None:
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "Grüße", "Hi", html="<p>Hi</p>")
        await tx.record([finished()])

    (message,) = await rival.due_messages(10)

    body = {"to": "ann@example.org", "subject": "Grüße", "text": "Hi", "html": "<p>Hi</p>"}
    thread = lease.run.thread
    assert message == OutboxMessage(
        f"{thread}.2.1", thread, "mail", body, 0, message.due_at_us, None, None, ""
    )


async def test_a_message_has_the_span_of_the_call_that_sent_it(store: Store) -> None:
    token = TRACEPARENT.set("00-a-b-01")
    (message,) = await mailed(store)
    TRACEPARENT.reset(token)

    assert mail_of(message).traceparent == "00-a-b-01"


async def test_due_messages_are_oldest_first(store: Store) -> None:
    messages = await mailed(store, "one", "two", "three")

    assert [message.body["subject"] for message in messages] == ["one", "two", "three"]
    assert await store.due_messages(2) == messages[:2]


async def test_of_twenty_claims_of_a_message_one_succeeds(store: Store, rival: Store) -> None:
    (message,) = await mailed(store)

    claims = await asyncio.gather(
        *((store, rival)[n % 2].claim_message(message, LONG_S) for n in range(20))
    )

    assert sorted(claims) == [False] * 19 + [True]
    assert await store.due_messages(10) == []
    assert (await waiting(store)).attempts == 1


async def test_a_message_whose_sender_died_is_due_again(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, SHORT_S)
    await asyncio.sleep(2 * SHORT_S)

    (again,) = await store.due_messages(10)

    assert again.attempts == 1
    assert await store.claim_message(message, LONG_S) is False
    assert await store.claim_message(again, LONG_S) is True


async def test_a_message_with_a_renewed_claim_is_not_due(store: Store, rival: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)
    (due,) = await rival.due_messages(10)

    assert await store.renew_message(message, LONG_S) is True

    assert await rival.due_messages(10) == []
    assert await rival.claim_message(due, LONG_S) is False


async def test_only_the_last_claim_of_a_message_can_be_renewed(store: Store, rival: Store) -> None:
    (message,) = await mailed(store)
    before = await store.renew_message(message, LONG_S)
    await store.claim_message(message, 0)
    (again,) = await rival.due_messages(10)
    await rival.claim_message(again, LONG_S)

    assert before is False
    assert await store.renew_message(message, LONG_S) is False
    assert await rival.renew_message(again, LONG_S) is True


@pytest.mark.parametrize("retry_s", [LONG_S, None], ids=["failed", "dead"])
async def test_the_claim_of_a_failed_message_cannot_be_renewed(
    store: Store, retry_s: float | None
) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, LONG_S)
    await store.message_failed(message, "450", retry_s)

    assert await store.renew_message(message, LONG_S) is False


async def test_a_sender_without_the_claim_still_records_a_sent_message(
    store: Store, rival: Store
) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)
    (again,) = await rival.due_messages(10)
    await rival.claim_message(again, 0)

    await store.message_sent(message)

    assert await rival.renew_message(again, LONG_S) is False
    await rival.message_failed(again, "too late", 0)
    assert await rival.due_messages(10) == []
    (sent,) = await store.messages(limit=10, state="sent")
    assert sent.error == ""


async def test_a_sent_message_is_never_due(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)

    await store.message_sent(message)

    assert await store.due_messages(10) == []
    assert await store.claim_message(message, LONG_S) is False
    (sent,) = await store.messages(limit=10, state="sent")
    assert sent.sent_at_us is not None


async def test_a_failed_message_is_due_later_and_has_the_error(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, LONG_S)

    await store.message_failed(message, "450 try later 😀", LONG_S)

    assert await store.due_messages(10) == []
    async with store.write() as tx:
        await tx.execute("UPDATE outbox SET due_at = 0")
    (again,) = await store.due_messages(10)
    assert (again.attempts, again.error) == (1, "450 try later 😀")


async def test_a_message_sent_after_a_failure_has_no_error(store: Store) -> None:
    (message,) = await mailed(store)
    await store.message_failed(message, "450", 0)

    await store.message_sent(message)

    (sent,) = await store.messages(limit=10)
    assert sent.error == ""


async def test_a_message_without_a_retry_is_dead(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)

    await store.message_failed(message, "550 nobody here", None)

    assert await store.due_messages(10) == []
    assert await store.messages(limit=10, state="waiting") == []
    (dead,) = await store.messages(limit=10, state="dead")
    assert (dead.error, dead.sent_at_us) == ("550 nobody here", None)
    assert dead.dead_at_us is not None
    assert await store.claim_message(dead, LONG_S) is False


async def test_a_retried_dead_message_has_all_attempts_again(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)
    await store.message_failed(message, "550", None)

    await store.retry_message(message.id)

    (again,) = await store.due_messages(10)
    assert (again.id, again.attempts, again.dead_at_us) == (message.id, 0, None)
    assert again.error == "550"


async def test_a_waiting_message_can_be_made_due(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, 0)
    await store.message_failed(message, "450", LONG_S)

    await store.retry_message(message.id)

    assert [one.attempts for one in await store.due_messages(10)] == [1]


async def test_a_claimed_message_cannot_be_retried(store: Store) -> None:
    (message,) = await mailed(store)
    await store.claim_message(message, LONG_S)

    with pytest.raises(Conflict, match="is being sent"):
        await store.retry_message(message.id)


async def test_a_message_of_an_unknown_kind_is_not_due(store: Store) -> None:
    (message,) = await mailed(store)
    async with store.write() as tx:
        await tx.execute("update outbox set kind = 'webhook'")

    assert await store.due_messages(10) == []
    assert [(one.id, one.kind) for one in await store.messages(limit=10)] == [
        (message.id, "webhook")
    ]


async def test_a_sent_or_missing_message_cannot_be_retried(store: Store) -> None:
    (message,) = await mailed(store)
    await store.message_sent(message)

    with pytest.raises(TooLate, match="was sent already"):
        await store.retry_message(message.id)
    for missing in ("x", "é"):
        with pytest.raises(NotFound, match=f"no message '{missing}'"):
            await store.retry_message(missing)
        with pytest.raises(NotFound, match=f"no message '{missing}'"):
            await store.find_message(missing)


async def test_all_dead_messages_are_due_again(store: Store) -> None:
    *dead, waits, sent = await mailed(store, *map(str, range(BATCH_SIZE + 3)))
    async with store.write() as tx:
        await tx.execute("UPDATE outbox SET attempts = 9, error = '550', dead_at = 1")
        for message in (waits, sent):
            await tx.execute("UPDATE outbox SET dead_at = NULL WHERE id = :id", id=message.id)
    await store.message_sent(sent)

    assert await store.retry_dead() == BATCH_SIZE + 1

    due = {one.id: (one.attempts, one.error) for one in await store.due_messages(BATCH_SIZE + 3)}
    assert due == {one.id: (0, "550") for one in dead} | {waits.id: (9, "550")}
    assert await store.retry_dead() == 0


@pytest.mark.mysql
async def test_a_list_of_messages_does_not_read_the_whole_outbox(
    mariadb: Store, reads: Reads
) -> None:
    kinds = ("NULL, NULL", "1, NULL", "NULL, 1")
    messages = ", ".join(
        f"('{number}', '', 'mail', '{{}}', 0, {number}, {kinds[number % 3]})"
        for number in range(BACKLOG)
    )
    async with mariadb.write() as tx:
        await tx.execute(
            "INSERT INTO outbox (id, thread_id, kind, body, attempts, due_at, sent_at, dead_at) "
            f"VALUES {messages}"
        )

    for state in (None, "waiting", "sent", "dead"):
        found, read = await reads.of(reads.store.messages(limit=10, state=state))

        assert len(found) == 10
        assert read < 200


async def test_a_failure_of_an_older_claim_changes_nothing(store: Store) -> None:
    """Another sender has claimed or sent the message since."""
    (message,) = await mailed(store)
    await store.claim_message(message, 0)
    (again,) = await store.due_messages(10)
    await store.claim_message(again, LONG_S)

    await store.message_failed(message, "too late", None)
    assert (await waiting(store)).error == ""
    await store.message_sent(again)
    await store.message_failed(again, "too late", None)

    assert await store.messages(limit=10, state="dead") == []


async def test_messages_are_listed_by_state_newest_first(store: Store) -> None:
    sent, dead, waits = await mailed(store, "one", "two", "three")
    await store.message_sent(sent)
    await store.message_failed(dead, "550", None)

    async def listed(state: str | None, limit: int = 10) -> list[str]:
        messages = await store.messages(limit=limit, state=state)  # type: ignore[arg-type]
        return [message.body["subject"] for message in messages]

    assert await listed("sent") == ["one"]
    assert await listed("dead") == ["two"]
    assert await listed("waiting") == ["three"]
    assert sorted(await listed(None)) == ["one", "three", "two"]
    assert len(await listed(None, limit=2)) == 2
    assert waits.id != dead.id


async def test_old_messages_without_a_thread_are_pruned(store: Store) -> None:
    sent, dead, waits = await mailed(store, "sent", "dead", "waits")
    await store.message_sent(sent)
    await store.message_failed(dead, "550", None)

    await store.prune(before_us=1)
    assert len(await store.messages(limit=10)) == 3
    await store.prune(before_us=FAR_US)
    assert [message.id for message in await store.messages(limit=10)] == [waits.id]


async def test_a_dead_message_is_pruned_with_its_thread(store: Store) -> None:
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "Hi", "Hi")
        await tx.record([finished()])
    assert await store.prune(before_us=FAR_US) == 0
    (message,) = await store.due_messages(10)

    await store.message_failed(message, "550", None)

    assert await store.prune(before_us=FAR_US) == 1
    assert await rows(store, "SELECT id FROM outbox") == []


@pytest.mark.parametrize("state", ["waiting", "sent", "dead"])
async def test_lists_have_no_text_of_a_deleted_conversation(
    store: Store, state: Literal["waiting", "sent", "dead"]
) -> None:
    lease = await leased(store)
    async with store.append(Append(lease, 1, 1, "completed")) as tx:
        await tx.send_mail("ann@example.org", "Hi", "Welcome")
        await tx.record([finished()])
    (message,) = await store.due_messages(1)
    if state == "sent":
        await store.message_sent(message)
    else:
        await store.claim_message(message, LONG_S)
        await store.message_failed(message, "550 ann", None if state == "dead" else LONG_S)
    await store.delete_thread(lease.run.thread)

    (listed,) = await store.messages(limit=1, state=state)

    expected = "" if state == "sent" else NOT_SHOWN
    assert (listed.id, listed.body, listed.error) == (message.id, {}, expected)
    assert await store.find_message(message.id) == listed
    by_operator: MessageState = "failed" if state == "waiting" else state
    assert await store.find_messages(by_operator, limit=1) == [listed]
