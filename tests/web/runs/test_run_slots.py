"""One principal's runs leave slots and memory for those of others."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.engine.stage import ANN, LIMITS, Stage, start
from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Serve, Served
from twelvefold.core.ports import NullListener, Principal
from twelvefold.engine.memory import MemoryBudget
from twelvefold.services.model.scripted import says
from twelvefold.web.http.errors import ApiError
from twelvefold.web.runs.executor import RunExecutor, RunSlots
from twelvefold.web.state import WAITING_INPUT_BYTES, turn_memory

SECOND = f"tw_{'c' * 43}"
BOB = Principal("bob")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def with_keys(serve: Serve, **settings: Any) -> Served:
    """A process without a worker; ann has two keys, bob one. Its model says nothing yet."""
    api = await serve(worker=False, **settings)
    store = api.web.services.store
    await store.add_key(api_key())
    await store.add_key(replace(api_key(SECOND, "ann", "key-3"), name="ann's other"))
    await store.add_key(api_key(OTHER, "bob", "key-2"))
    api.model.gate.clear()
    return api


async def turn(api: Served, token: str, text: str = "hi", **more: Any) -> httpx2.Response:
    body = {"model": "shop", "input": text, **more}
    return await api.post("/responses", body, headers=bearer(token))


def begun(group: asyncio.TaskGroup, api: Served, *tokens: str) -> list[asyncio.Task[Any]]:
    return [group.create_task(turn(api, token)) for token in tokens]


async def until_in_flight(api: Served, runs: int) -> None:
    while api.web.executor.in_flight < runs:
        await asyncio.sleep(0.01)


def refused(answer: httpx2.Response, message: str) -> None:
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("too_many_runs", "rate_limit_error")
    assert message in error["message"]


# --- slots


def test_half_of_the_slots_are_one_principals_by_default() -> None:
    assert [RunSlots(most)._limit_per_principal for most in (1, 2, 3, 256)] == [1, 1, 1, 128]
    assert RunSlots(10, 7)._limit_per_principal == 7


async def test_a_principal_that_holds_all_of_its_slots_leaves_room_for_others(
    serve: Serve,
) -> None:
    api = await with_keys(serve, max_runs=4)
    async with asyncio.TaskGroup() as group:
        tasks = begun(group, api, TOKEN, SECOND)
        await until_in_flight(api, 2)

        for token in (TOKEN, SECOND):  # a principal's keys share its places
            refused(await turn(api, token), "all 2 run slots of one principal")
        tasks += begun(group, api, OTHER)
        await until_in_flight(api, 3)
        api.model.gate.set()

    assert [task.result().status_code for task in tasks] == [200] * 3
    assert (await turn(api, TOKEN)).status_code == 200


async def test_the_share_of_a_principal_is_a_setting(serve: Serve) -> None:
    api = await with_keys(serve, max_runs=4, max_runs_per_principal=1)
    async with asyncio.TaskGroup() as group:
        begun(group, api, TOKEN)
        await until_in_flight(api, 1)

        refused(await turn(api, SECOND), "all 1 run slots")
        chat = {"model": "shop", "messages": [{"role": "user", "content": "hi"}]}
        refused(await api.post("/chat/completions", chat, headers=bearer(TOKEN)), "all 1 run slots")
        api.model.gate.set()


async def test_a_run_that_rests_releases_its_slot(stage: Stage) -> None:
    services = stage.process(says("hello"))
    async with RunExecutor(services, 4, 1) as executor:
        with executor.slot(ANN):
            with pytest.raises(ApiError), executor.slot(ANN):
                pass
            with executor.slot(BOB):
                pass
            task = executor.start(await start(services), NullListener())
        await task
        with executor.slot(ANN):
            pass
        assert executor.memory.held == 0


# --- bytes


async def test_a_run_holds_the_bytes_of_its_conversation_until_it_rests(stage: Stage) -> None:
    services = stage.process(says("hello"))
    async with RunExecutor(services, 4) as executor:
        driven = await start(services, "x" * 1_000)
        task = executor.start(driven, NullListener())
        assert executor.memory.held == driven.thread.size
        await task
        assert executor.memory.held == 0


async def test_a_turn_waits_for_the_bytes_that_it_needs_only_if_its_input_is_short() -> None:
    budget = MemoryBudget(4 * WAITING_INPUT_BYTES)
    await budget.reservation("bob").hold(4 * WAITING_INPUT_BYTES, wait_s=0)
    long = WAITING_INPUT_BYTES + 1
    with turn_memory(budget, ANN, long) as memory, pytest.raises(ApiError) as caught:
        await memory.hold(5)

    assert caught.value.status == 429


async def long_conversation(api: Served, token: str) -> str:
    answer = await api.post("/conversations", {}, headers=bearer(token))
    id = str(answer.json()["id"])
    items = [{"type": "message", "role": "user", "content": "x" * 30_000}]
    for _ in range(2):
        path = f"/conversations/{id}/items"
        added = await api.post(path, {"items": items}, headers=bearer(token))
        assert added.status_code == 200, added.text
    return id


async def test_long_conversations_of_one_principal_leave_room_for_others(serve: Serve) -> None:
    limits = replace(LIMITS, context_tokens=1_000_000)
    api = await with_keys(serve, limits=limits, max_run_bytes=150_000)
    first, second = await long_conversation(api, TOKEN), await long_conversation(api, TOKEN)
    theirs = await long_conversation(api, OTHER)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(turn(api, TOKEN, conversation=first))]
        await until_in_flight(api, 1)

        refused(await turn(api, SECOND, conversation=second), "all the memory that they may")
        tasks.append(group.create_task(turn(api, OTHER, conversation=theirs)))
        await until_in_flight(api, 2)
        tasks.append(group.create_task(turn(api, TOKEN)))  # a short one has room
        await until_in_flight(api, 3)
        api.model.gate.set()

    assert [task.result().status_code for task in tasks] == [200] * 3
    assert api.web.executor.memory.held == 0
    assert (await turn(api, SECOND, conversation=second)).status_code == 200


async def test_a_turn_after_a_response_counts_as_well(serve: Serve) -> None:
    limits = replace(LIMITS, context_tokens=1_000_000)
    api = await with_keys(serve, limits=limits, max_run_bytes=150_000)
    api.model.gate.set()
    previous = (await turn(api, TOKEN, "x" * 60_000)).json()["id"]
    api.model.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(turn(api, TOKEN, previous_response_id=previous))]
        await until_in_flight(api, 1)

        refused(await turn(api, TOKEN, previous_response_id=previous), "all the memory")
        api.model.gate.set()

    assert tasks[0].result().status_code == 200


async def test_references_do_not_exceed_the_size_of_an_input(serve: Serve) -> None:
    api = await serve(worker=False)
    id = str((await api.post("/conversations")).json()["id"])
    item = {"type": "message", "role": "user", "content": "x" * 1_000_000}
    added = await api.post(f"/conversations/{id}/items", {"items": [item]})
    reference = {"type": "item_reference", "id": added.json()["data"][0]["id"]}

    answer = await api.post("/responses", {"model": "shop", "input": [reference] * 100})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("input_too_large", "input[4].id")
