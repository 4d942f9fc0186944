"""The servers that the checks play, as the release's own clients see them."""

import asyncio
from typing import Any

from twelvefold.core.ports import Mail, ModelReply, ModelRequest, NullListener
from twelvefold.factors.harness.fake_model import StandIn
from twelvefold.factors.harness.fake_smtp import Letterbox
from twelvefold.services.mail import open_mailer
from twelvefold.services.model import open_model


async def asked(model: StandIn, *items: dict[str, Any], name: str = "one") -> ModelReply:
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


async def test_the_model_calls_the_tool_that_the_user_names_and_then_says_so() -> None:
    async with StandIn().serving() as model:
        first = await asked(model, user("book A"))
        second = await asked(model, user("book A"), CALL, OUTPUT)

    assert first.items[0]["name"] == "book"
    assert first.items[0]["arguments"] == '{"ref": "A", "gate": ""}'
    (part,) = second.items[0]["content"]
    assert part["text"] == "This is one; 1 turns were told to me; that was book A."
    assert model.asked == {"one A": 2}


async def test_a_reply_is_held_until_it_is_let_go() -> None:
    async with StandIn().serving() as model, asyncio.TaskGroup() as tasks:
        hold = model.hold_reply("A", 1)
        asking = tasks.create_task(asked(model, user("book A")))
        await hold.reached.wait()
        await asyncio.sleep(0.05)
        was_held = not asking.done()
        hold.free.set()

    assert was_held
    assert asking.result().items[0]["name"] == "book"


async def test_the_mail_server_keeps_the_subject_of_each_letter() -> None:
    async with Letterbox().serving() as box:
        mailer = open_mailer(smtp_url=box.url, mail_from="a@example.org")
        for subject in ("one", "two"):
            await mailer.send(Mail(id=subject, to="b@example.org", subject=subject, text=".\n"))
        await mailer.close()

    assert box.subjects == ["one", "two"]
