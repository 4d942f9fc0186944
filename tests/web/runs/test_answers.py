"""The person whom a tool asks answers over HTTP, and sees nothing else of the run."""

import asyncio

import pytest

from tests.web.asking import approval, error, said
from tests.web.people import FAMILY, give, people, question_of, script
from tests.web.serving import Json, Serve
from tests.web.tenants import unused
from twelvefold.core.ports import ApiKey
from twelvefold.services.model.scripted import ScriptedModel
from twelvefold.web.http.authentication import hash_of

NOT_PENDING = (400, "approval_not_pending", "call_id")


async def test_the_person_who_is_asked_answers_and_the_run_continues(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    first = await ann.ask("call ask_bob")
    id = question_of(first)

    answered = await give(bob, id, "yes")

    assert (answered.status_code, answered.json()) == (200, {"object": "answer", "call_id": id})
    assert said(await ann.settled(f"{first['id']}c1")) == 'The tool says: "yes"'


async def test_the_person_sees_nothing_else_of_the_run(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    first = await ann.ask("call ask_bob")
    await give(bob, question_of(first), "yes")
    thread = first["id"][5:-1]

    paths = [f"/responses/{first['id']}", f"/responses/{first['id']}c1"]
    paths += [f"/conversations/conv_{thread}{rest}" for rest in ("", "/items", "/journal")]

    assert [(await bob.get(path)).status_code for path in paths] == [404] * len(paths)
    assert (await bob.get("/conversations")).json()["data"] == []


async def test_only_the_person_may_answer(serve: Serve) -> None:
    ann, _, carol = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))

    mine, theirs, none = [
        await give(*one) for one in ((ann, id, "yes"), (carol, id, 7), (carol, unused(id), 7))
    ]

    assert error(mine) == error(theirs) == error(none) == NOT_PENDING
    assert "bob has to answer" in mine.json()["error"]["message"]
    assert theirs.text.replace(id, "") == none.text.replace(unused(id), "")


async def test_an_answer_of_another_type_is_refused_and_the_question_stays(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))

    refused = await give(bob, id, "maybe")

    assert error(refused) == (400, "invalid_answer", "output")
    assert (await give(bob, id, "no")).status_code == 200


async def test_of_several_answers_of_the_person_one_counts(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    first = await ann.ask("call ask_bob")
    id = question_of(first)

    answers = await asyncio.gather(*(give(bob, id, "yes") for _ in range(4)))

    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400]
    await ann.settled(f"{first['id']}c1")
    assert error(await give(bob, id, "yes")) == NOT_PENDING


async def test_a_caller_answers_the_question_of_the_own_run(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    first = await ann.ask("call ask_caller")
    id = question_of(first)

    assert error(await give(bob, id, 7)) == NOT_PENDING
    assert error(await give(ann, id, "7")) == (400, "invalid_answer", "output")
    assert (await give(ann, id, 7)).status_code == 200
    assert said(await ann.settled(f"{first['id']}c1")) == "The tool says: 7"


async def test_an_approval_is_no_question(serve: Serve) -> None:
    ann, _, _ = await people(serve)
    _, request = await approval(ann)

    for id in (request["id"], request["id"].replace("mcpr_", "ask_"), "ask_", "x"):
        assert error(await give(ann, id, "yes")) == NOT_PENDING


async def test_a_key_needs_the_scope_to_answer(serve: Serve) -> None:
    ann, bob, _ = await people(serve)
    id = question_of(await ann.ask("call ask_bob"))
    token = f"tw_{'d' * 43}"
    key = ApiKey("key-4", "no answers", "bob", ("runs", "signal"), hash_of(token), 1)
    await ann.web.services.store.add_key(key)

    refused = await bob.post(
        "/answers",
        {"call_id": id, "output": "yes"},
        headers={"authorization": f"Bearer {token}"},
    )

    assert error(refused) == (403, "missing_scope", None)


@pytest.mark.parametrize("body", [{"output": "yes"}, {"call_id": "ask_1"}, {"call_id": 1}])
async def test_an_incomplete_answer_is_refused(serve: Serve, body: Json) -> None:
    _, bob, _ = await people(serve)

    assert (await bob.post("/answers", body)).status_code == 400


async def test_a_person_answers_the_question_of_a_run_below(serve: Serve) -> None:
    ann, bob, carol = await people(serve, workflow=FAMILY, model=ScriptedModel(script))
    first = await ann.ask("go")
    id = question_of(first)

    assert error(await give(carol, id, "yes")) == NOT_PENDING
    assert (await give(bob, id, "yes")).status_code == 200

    assert said(await ann.settled(f"{first['id']}c1")) == 'boss: clerk: "yes"'
