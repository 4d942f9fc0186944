"""Arguments of an app that are invalid are refused with their names, before anything is written."""

from collections.abc import AsyncIterator
from math import nan
from pathlib import Path
from typing import Any

import pytest

from tests.app.shop import REFUND, OpenApp, scripted, shop, shop_settings
from twelvefold import App, SyncApp
from twelvefold.errors import InputRefused, NotFound, RequestError

NAMES = ["", " ", "\t", "ann ", " ann", "a\0b", "\ud800", "x" * 256, 7, b"ann"]
NAME_RULE = "principal is .*; use 1 to 255 printable characters, without a space at either end$"


@pytest.fixture
async def app(open_app: OpenApp) -> AsyncIterator[App]:
    """An app in which nothing is to be written."""
    app = await open_app()
    yield app
    async with app.session.services.store.read() as db:
        assert await db.fetch_all("select * from runs") == []
        assert await db.fetch_all("select * from signals") == []


@pytest.mark.parametrize("principal", [*NAMES, None])
async def test_a_run_is_for_a_principal(app: App, principal: Any) -> None:
    for start in (app.run, app.start):
        with pytest.raises(RequestError, match=NAME_RULE):
            await start(shop, "hi", principal=principal)
    with pytest.raises(RequestError, match=NAME_RULE):
        await app.signal("paid", workflow=shop, principal=principal)


@pytest.mark.parametrize("principal", NAMES)
async def test_a_principal_that_is_given_is_never_anyone(open_app: OpenApp, principal: Any) -> None:
    app = await open_app(REFUND)
    run = (await app.run(shop, "refund it", principal="ann")).id

    for call in (
        app.get(run, principal=principal),
        app.cancel(run, principal=principal),
        app.resume(run, principal=principal),
        app.approve(run, principal=principal),
        app.answer(run, 1, principal=principal),
        app.settle(run, "done", principal=principal),
    ):
        with pytest.raises(RequestError, match=NAME_RULE):
            await call
    assert (await app.get(run)).status == "waiting"


def test_a_program_without_await_gives_the_same_principals(tmp_path: Path) -> None:
    settings = shop_settings(tmp_path)
    with SyncApp([shop], settings=settings, model=scripted(REFUND)) as app:
        run = app.run(shop, "refund it", principal="ann").id

        for call in (app.get, app.cancel, app.resume, app.approve):
            with pytest.raises(RequestError, match=NAME_RULE):
                call(run, principal="")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "input is None; pass a text or a list of items"),
        (b"hi", "input is b'hi'; pass a text or a list of items"),
        ({"role": "user"}, "input is {'role': 'user'}; pass a text or a list of items"),
        (" ", "the message is empty; pass a text"),
        ((), "the input is empty; pass a text or a list of items"),
        (["hi"], r"input\[0\]: must be an object, not a string"),
        ([{}], r"input\[0\]\.role: is missing"),
        ([{"role": "user"}], r"input\[0\]\.content: is missing"),
        ([{"role": "boss", "content": "hi"}], r"input\[0\]\.role: must be one of "),
        ([{"role": "user", "content": 5}], r"input\[0\]\.content: must be a string or an array"),
        ([{"role": "user", "content": nan}], r"input\[0\]\.content: must be a string or an array"),
        ([{"role": "user", "content": [5]}], r"input\[0\]\.content\[0\]: must be an object"),
        ([{"role": "user", "content": "hi", "to": 1}], r"input\[0\]\.to: is not known"),
        ([{"type": "video"}], r"input\[0\]\.type: 'video' is not supported here"),
        ([{"id": "msg_1"}], r"input\[0\]\.type: 'item_reference' is for requests over HTTP"),
        (
            [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}],
            r"input\[0\]\.type: 'mcp_approval_response' is for requests over HTTP",
        ),
        (
            [{"type": "function_call", "call_id": "a", "name": "x", "arguments": "{}"}],
            "input: the call 'a' has no result in the request",
        ),
        (
            [{"type": "function_call_output", "call_id": "a", "output": "x"}],
            r"input\[0\]\.call_id: no call 'a' waits for a result",
        ),
        ("\ud800", "the input cannot be stored as text"),
        ("x" * 5_000_000, "the input is 5000[0-9]+ bytes long; 4194304 is the most"),
    ],
)
async def test_an_input_is_checked_as_over_http(app: App, given: Any, problem: str) -> None:
    with pytest.raises(RequestError, match=f"^{problem}"):
        await app.run(shop, given)


async def test_an_invalid_image_has_the_code_of_the_api(app: App) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}

    with pytest.raises(InputRefused, match=r"^input\[0\]\.content\[0\]\.image_url: ") as raised:
        await app.run(shop, [{"role": "user", "content": [image]}])

    assert raised.value.code == "invalid_value"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"key": " "}, "key is ' '; use 1 to 255 visible ASCII characters"),
        ({"key": "ö"}, "key is 'ö'; use 1 to 255 visible ASCII characters"),
        ({"key": "x" * 256}, "key is 'x{59}…; use 1 to 255 visible ASCII characters"),
        ({"key": None}, "key is None; use 1 to 255 visible ASCII characters"),
        ({"model": "gold"}, "workflow 'shop' has no model 'gold' for callers; there are none"),
        ({"model": 5}, "model is a text, not 5"),
        ({"conversation": 5}, "conversation is a text, not 5"),
        ({"previous": None}, "previous is a text, not None"),
        ({"metadata": [("a", "b")]}, r"metadata is \[\('a', 'b'\)\]; pass a mapping of texts"),
        ({"metadata": {"a": 1}}, r"metadata\.a: must be a string, not an integer"),
        ({"metadata": {"a": "x" * 513}}, r"metadata\.a: must have at most 512 character\(s\)"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata: must have at most 16 member"),
        ({"metadata": {"a": "\ud800"}}, "the input cannot be stored as text"),
    ],
)
async def test_an_option_is_checked(app: App, options: Any, problem: str) -> None:
    with pytest.raises(RequestError, match=f"^{problem}"):
        await app.run(shop, "hi", **options)


async def test_an_unknown_option_is_an_error_of_the_program(app: App) -> None:
    options: Any = {"stream": True}

    with pytest.raises(TypeError, match="no option 'stream'; there are principal, conversation, "):
        await app.run(shop, "hi", **options)


@pytest.mark.parametrize("workflow", [None, 5, b"shop"])
async def test_a_workflow_is_given_by_itself_or_its_name(app: App, workflow: Any) -> None:
    for call in (app.run(workflow, "hi"), app.signal("paid", workflow=workflow)):
        with pytest.raises(RequestError, match=r"workflow is .*; pass a workflow or its name"):
            await call


@pytest.mark.parametrize("run", ["", None, 5, b"resp_1", "resp_1", "\ud800", "x" * 10_000])
async def test_anything_but_the_id_of_a_run_is_not_found(app: App, run: Any) -> None:
    for call in (
        app.get(run),
        app.cancel(run),
        app.resume(run),
        app.approve(run),
        app.answer(run, 1),
        app.settle(run, "done"),
    ):
        with pytest.raises(NotFound, match=r"^no run .{1,70}; a run's id is resp_"):
            await call


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"approved": "no"}, "the approval is 'no'; pass True or False"),
        ({"approved": None}, "the approval is None; pass True or False"),
        ({"arguments": ["bread"]}, r"arguments is \['bread'\]; pass a mapping"),
        ({"arguments": {"item": nan}}, "arguments is no JSON"),
        ({"arguments": {"item": 5}}, "item: Input should be a valid string"),
        ({"arguments": {"item": "bread", "who": {"id": "bob"}}}, "who: Extra inputs are not"),
        ({"arguments": {"item": "bread", "tx": 1}}, "tx: Extra inputs are not permitted"),
        ({"approved": False, "arguments": {"item": "bread"}}, "a call that is denied takes no"),
        ({"by": 5}, "by is a text, not 5"),
        ({"reason": None}, "reason is a text, not None"),
        ({"call": 5}, "call is a text, not 5"),
        ({"by": "\ud800"}, "by is no text: it holds half of a surrogate pair"),
    ],
)
async def test_an_approval_is_checked_and_the_run_still_waits(
    open_app: OpenApp, options: Any, problem: str
) -> None:
    app = await open_app(REFUND)
    run = await app.run(shop, "refund it", principal="ann")

    with pytest.raises(RequestError, match=problem):
        await app.approve(run.id, **options)

    assert await app.get(run.id) == run


async def test_an_outcome_is_one_of_three(open_app: OpenApp) -> None:
    app = await open_app(REFUND)
    run = await app.run(shop, "refund it")
    outcome: Any = "lost"

    with pytest.raises(RequestError, match="outcome is 'lost'; use one of done, retry, failed"):
        await app.settle(run.id, outcome)
    with pytest.raises(RequestError, match="result is a text, not 5"):
        await app.settle(run.id, "done", result=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"key": ""}, "key is ''; it needs a visible character"),
        ({"key": "\ud800"}, "key is no text"),
        ({"payload": nan}, "the payload is no JSON"),
        ({"payload": "\ud800"}, "the payload is no JSON"),
        ({"payload": "x" * 70_000}, "the payload has 70002 characters as JSON; 65536 is the most"),
        ({"by": "x" * 256}, "by has 256 characters; 255 is the most"),
        ({"by": 5}, "by is a text, not 5"),
    ],
)
async def test_an_event_is_checked(app: App, given: Any, problem: str) -> None:
    with pytest.raises(RequestError, match=f"^{problem}"):
        await app.signal(**{"key": "paid", "workflow": shop, **given})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"limit": 0}, "limit is 0; pass a whole number, 1 to 10000"),
        ({"limit": -1}, "limit is -1; pass a whole number, 1 to 10000"),
        ({"limit": 10_001}, "limit is 10001; pass a whole number, 1 to 10000"),
        ({"limit": True}, "limit is True; pass a whole number, 1 to 10000"),
        ({"limit": "5"}, "limit is '5'; pass a whole number, 1 to 10000"),
        ({"after": "4.0"}, "after is '4.0'; pass a question of this list"),
        ({"principal": ""}, "principal is ''; use 1 to 255 printable characters"),
        ({"principal": None}, "principal is None; use 1 to 255 printable characters"),
    ],
)
async def test_a_list_of_questions_is_of_a_person_and_bounded(
    app: App, options: Any, problem: str
) -> None:
    with pytest.raises(RequestError, match=f"^{problem}"):
        await app.questions(**options)
