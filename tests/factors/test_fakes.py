"""The fake servers of the checks, used by the clients of the release."""

import asyncio
from typing import Any

from twelvefold.core.ports import Mail, ModelReply, ModelRequest, NullListener
from twelvefold.factors.harness import FakeModelServer, FakeSMTPServer
from twelvefold.services.mail import open_mailer
from twelvefold.services.model import open_model


async def request(model: FakeModelServer, *items: dict[str, Any], name: str = "one") -> ModelReply:
    client = open_model(base_url=model.base_url(name), api_key="", model="x")
    try:
        return await client.reply(
            ModelRequest(instructions="", items=items, tools=()), NullListener()
        )
    finally:
        await client.close()


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "booked"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "book", "arguments": "{}"}


async def test_the_model_calls_the_named_tool_and_then_answers_with_text() -> None:
    async with FakeModelServer().serve() as model:
        first = await request(model, user("book A"))
        second = await request(model, user("book A"), CALL, OUTPUT)

    assert first.items[0]["name"] == "book"
    assert first.items[0]["arguments"] == '{"ref": "A", "barrier": ""}'
    (part,) = second.items[0]["content"]
    assert part["text"] == "Model one; user messages: 1; the last: book A"
    assert model.requests == {("one", "A"): 2}


async def test_a_reply_is_blocked_until_its_barrier_is_released() -> None:
    async with FakeModelServer().serve() as model, asyncio.TaskGroup() as tasks:
        barrier = model.block_reply("A", 1)
        reply = tasks.create_task(request(model, user("book A")))
        await barrier.reached.wait()
        was_blocked = not reply.done()
        barrier.release()

    assert was_blocked
    assert reply.result().items[0]["name"] == "book"


async def test_all_replies_stop_halfway_until_the_model_is_open() -> None:
    async with FakeModelServer().serve() as model, asyncio.TaskGroup() as tasks:
        model.is_open.clear()
        replies = [tasks.create_task(request(model, user(f"book {ref}"))) for ref in "AB"]
        while model.requests.total() < len(replies):
            await asyncio.sleep(0.001)
        were_done = [reply.done() for reply in replies]
        model.is_open.set()

    assert were_done == [False, False]
    assert [reply.result().items[0]["name"] for reply in replies] == ["book", "book"]


async def test_the_mail_server_stores_the_subject_of_each_message() -> None:
    async with FakeSMTPServer().serve() as server:
        mailer = open_mailer(smtp_url=server.url, mail_from="a@example.org")
        for subject in ("one", "two"):
            await mailer.send(Mail(id=subject, to="b@example.org", subject=subject, text=".\n"))
        await mailer.close()

    assert server.subjects == ["one", "two"]
