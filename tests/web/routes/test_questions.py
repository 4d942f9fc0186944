"""The open questions of a person over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.web.asking import error
from tests.web.people import FAMILY, give, people, question_of, script
from tests.web.serving import Json, Serve, Served
from tests.web.tenants import unused
from twelvefold.core import THREAD_ID_LENGTH
from twelvefold.core.ports import ApiKey
from twelvefold.services.model.scripted import ScriptedModel
from twelvefold.web.http.authentication import hash_of

NO_AFTER = (400, "invalid_value", "after")


async def listed(api: Served, **page: Any) -> Json:
    answer = await api.get("/questions", **page)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def ids(api: Served, **page: Any) -> list[str]:
    return [one["id"] for one in (await listed(api, **page))["data"]]


async def test_the_person_asked_sees_the_question_its_type_and_its_ids(serve: Serve) -> None:
    ann, bob, carol = await people(serve)
    first = await ann.ask("call ask_bob")

    found = await listed(bob)

    (question,) = found["data"]
    conversation = f"conv_{first['id'][5:-1]}"
    (*_, entry) = (await ann.get(f"/conversations/{conversation}/journal")).json()["data"]
    assert question == {
        "id": question_of(first),
        "object": "question",
        "question": "Is Rome nice?",
        "schema": {"enum": ["yes", "no"], "type": "string"},
        "workflow": "shop",
        "response": first["id"],
        "conversation": conversation,
        "asked_at": entry["at"],
        "expires_at": None,
    }
    assert (found["first_id"], found["last_id"]) == (question["id"], question["id"])
    assert await ids(ann) == await ids(carol) == []


async def test_the_caller_sees_the_questions_of_the_own_runs(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_caller"))

    assert (await ids(ann), await ids(bob)) == ([id], [])


async def test_an_answered_question_is_not_listed(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))

    await give(bob, id, "maybe")
    assert await ids(bob) == [id]
    answers = await asyncio.gather(*(give(bob, id, "yes") for _ in range(3)))

    assert sorted(one.status_code for one in answers) == [200, 400, 400]
    assert await ids(bob) == []


async def test_a_question_of_a_cancelled_run_is_not_listed(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    first = await ann.ask("call ask_bob")

    await ann.post(f"/conversations/conv_{first['id'][5:-1]}/cancel", {})

    assert await ids(bob) == []
    assert (await give(bob, question_of(first), "yes")).status_code == 400


async def test_a_question_of_a_deleted_conversation_is_not_listed(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    kept, gone = await ann.ask("call ask_bob"), await ann.ask("call ask_bob")

    await ann.http.delete(f"/v1/conversations/conv_{gone['id'][5:-1]}")

    assert await ids(bob) == [question_of(kept)]


async def test_the_list_has_pages_in_both_orders(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    asked = [question_of(await ann.ask("call ask_bob")) for _ in range(3)]

    newest, oldest = await listed(bob, limit=2), await listed(bob, limit=2, order="asc")

    assert [one["id"] for one in newest["data"]] == asked[:0:-1]
    assert [one["id"] for one in oldest["data"]] == asked[:2]
    assert (newest["has_more"], oldest["has_more"]) == (True, True)
    # It is answered between the two pages.
    await give(bob, newest["last_id"], "yes")
    last = await listed(bob, limit=2, after=newest["last_id"])
    assert ([one["id"] for one in last["data"]], last["has_more"]) == (asked[:1], False)


@pytest.mark.parametrize("form", ["x", "ask_", "another's", "unused", "huge"])
async def test_a_page_begins_after_a_question_of_the_caller_alone(serve: Serve, form: str) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))
    huge = f"ask_{id.removeprefix('ask_')[:THREAD_ID_LENGTH]}{10**19 - 1}.0"
    after = {"another's": id, "unused": unused(id), "huge": huge}.get(form, form)
    api = ann if form == "another's" else bob

    assert error(await api.get("/questions", after=after)) == NO_AFTER


async def test_a_person_sees_the_question_of_a_run_below(serve: Serve) -> None:
    ann, bob, carol = await people(serve, workflow=FAMILY, model=ScriptedModel(script))
    id = question_of(await ann.ask("go"))

    (question,) = (await listed(bob))["data"]

    assert (question["id"], question["workflow"]) == (id, "clerk")
    assert await ids(ann) == await ids(carol) == []
    await give(bob, id, "yes")
    assert await ids(bob) == []


async def test_reading_the_list_needs_no_scope(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))
    token = f"tw_{'d' * 43}"
    key = ApiKey("key-4", "no answers", "bob", ("runs",), hash_of(token), 1)
    await ann.web.services.store.add_key(key)

    api = await serve(headers={"authorization": f"Bearer {token}"})

    assert await ids(api) == await ids(bob) == [id]
