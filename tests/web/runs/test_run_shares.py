"""Runs at once of a principal over HTTP, in several processes."""

import asyncio
from dataclasses import replace

from tests.engine.stage import LIMITS
from tests.web.asking import answer_to, approval, error
from tests.web.serving import Rules, Serve

ONE = replace(LIMITS, active_runs_per_principal=1)
TAKEN = (429, "too_many_runs", None)


async def test_processes_together_start_no_more_runs_than_the_limit(serve: Serve) -> None:
    apis = [await serve(limits=ONE, model=Rules()) for _ in range(2)]
    for api in apis:
        api.model.gate.clear()
    first = asyncio.create_task(apis[0].post("/responses", {"model": "shop", "input": "hi"}))
    await apis[0].model.asked.wait()

    second = await apis[1].post("/responses", {"model": "shop", "input": "hi"})
    apis[0].model.gate.set()
    apis[1].model.gate.set()

    assert error(second) == TAKEN
    assert second.headers["retry-after"] == "2"
    assert (await first).status_code == 200
    assert (await apis[1].ask("hi"))["status"] == "completed"


async def test_a_run_that_waits_for_a_person_takes_no_slot(serve: Serve) -> None:
    api = await serve(limits=ONE)
    _, request = await approval(api)

    assert (await api.ask("hi"))["status"] == "completed"
    assert (await api.ask(answer_to(request, True)))["status"] == "completed"


async def test_an_answer_that_finds_no_slot_is_not_written(serve: Serve) -> None:
    api = await serve(limits=ONE, worker=False)
    _, request = await approval(api)
    api.model.gate.clear()
    api.model.asked.clear()
    busy = asyncio.create_task(api.post("/responses", {"model": "shop", "input": "hi"}))
    await api.model.asked.wait()
    body = {"model": "shop", "input": answer_to(request, True)}

    refused = await api.post("/responses", body)
    api.model.gate.set()
    await busy

    assert error(refused) == TAKEN
    assert (await api.post("/responses", body)).status_code == 200
