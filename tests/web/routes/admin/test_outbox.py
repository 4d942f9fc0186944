"""`/v1/admin/outbox`: the messages of all principals."""

import pytest

from tests.web.asking import error
from tests.web.routes.admin.conftest import Site
from tests.web.serving import Json, Served
from twelvefold.core.ports import OutboxMessage


async def mailed(api: Served, *subjects: str) -> list[OutboxMessage]:
    store = api.web.services.store
    for subject in subjects:
        async with store.write() as tx:
            await tx.send_mail("ann@example.org", subject, "the text")
    return await store.due_messages(len(subjects))


async def listed(api: Served, **query: object) -> Json:
    answer = await api.get("/admin/outbox", **query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_messages_are_listed_by_their_state_without_their_text(site: Site) -> None:
    store = site.ops.web.services.store
    messages = await mailed(site.ann, "due", "failed", "dead", "sent")
    by_state = {str(one.body["subject"]): one for one in messages}
    for state in ("failed", "dead"):
        await store.claim_message(by_state[state], 60)
        retry_s = None if state == "dead" else 60.0
        await store.message_failed(by_state[state], "550 no such user", retry_s)
    await store.message_sent(by_state["sent"])

    for state, message in by_state.items():
        page = await listed(site.ops, state=state)

        [one] = page["data"]
        assert (one["id"], one["state"], one["subject"]) == (message.id, state, state)
        assert one["error"] == ("550 no such user" if state in ("failed", "dead") else "")
        assert "the text" not in str(page)
    assert (await listed(site.ops))["data"][0]["subject"] == "due"


@pytest.mark.parametrize("state", ["due", "failed", "dead", "sent"])
async def test_messages_are_listed_in_pages(site: Site, state: str) -> None:
    store = site.ops.web.services.store
    for message in await mailed(site.ann, "one", "two", "three"):
        if state == "sent":
            await store.message_sent(message)
        elif state != "due":
            await store.claim_message(message, 60)
            await store.message_failed(message, "no", None if state == "dead" else 60.0)

    first = await listed(site.ops, state=state, limit=2)
    second = await listed(site.ops, state=state, limit=2, after=first["last_id"])

    assert (len(first["data"]), len(second["data"])) == (2, 1)
    assert len({one["id"] for one in first["data"] + second["data"]}) == 3
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_a_dead_message_is_made_due_again(site: Site) -> None:
    store = site.ops.web.services.store
    [message] = await mailed(site.ann, "hi")
    await store.claim_message(message, 60)
    await store.message_failed(message, "no", None)

    answer = (await site.ops.post(f"/admin/outbox/{message.id}/retry")).json()

    assert (answer["id"], answer["dead_at"], answer["attempts"]) == (message.id, None, 0)
    assert [one.id for one in await store.due_messages(5)] == [message.id]
    await store.message_sent(message)
    again = await site.ops.post(f"/admin/outbox/{message.id}/retry")
    assert again.status_code == 409


async def test_an_invalid_request_is_rejected(site: Site) -> None:
    assert error(await site.ops.get("/admin/outbox", state="lost"))[2] == "state"
    assert error(await site.ops.get("/admin/outbox", after="nothing"))[2] == "after"
    assert (await site.ops.post("/admin/outbox/nothing/retry")).status_code == 404
