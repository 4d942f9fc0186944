"""Two processes want one thread: one has it, the other stops and has written nothing."""

import asyncio
import os

import pytest

from tests.acceptance.academy import Place, judge
from tests.acceptance.crash import Worker, arena, free_run, worker
from tests.acceptance.crash_model import Client, journal_of

pytestmark = pytest.mark.mysql
URL = os.environ.get("DATABASE_URL", "")
PLACE = Place(1)
WHOLE_RUN = journal_of("in_turn")


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


@pytest.mark.parametrize("place", ["ask:2", "replied:2", "step_done:2", "replied:4"])
async def test_a_process_whose_lease_ran_out_finds_the_run_finished_and_says_so(place: str) -> None:
    async with (
        arena(URL, [PLACE]) as stage,
        worker(stage, PLACE, Client("slow"), halt=place) as slow,
    ):
        await slow.said("at")
        run = await free_run(stage.store, PLACE)
        async with worker(stage, PLACE, Client("second"), run=run) as second:
            ended = await second.said("end")
        slow.go_on()
        slow_ended = await slow.said("end")
        verdict = await judge(stage.store, PLACE, WHOLE_RUN)

    assert (ended, slow_ended) == ("end completed", "end completed")
    assert verdict.why == ()


@pytest.mark.parametrize("place", ["statement:2", "rows:2", "step_written:3"])
async def test_a_process_inside_its_transaction_keeps_the_other_out_until_it_is_over(
    place: str,
) -> None:
    async with (
        arena(URL, [PLACE]) as stage,
        worker(stage, PLACE, Client("slow"), halt=place) as slow,
    ):
        await slow.said("at")
        run = await free_run(stage.store, PLACE)
        async with worker(stage, PLACE, Client("second"), run=run) as second:
            await asyncio.sleep(0.5)
            slow.go_on()
            ended = await asyncio.gather(slow.said("end"), second.said("end"))
        verdict = await judge(stage.store, PLACE, WHOLE_RUN)

    assert "end completed" in ended
    assert set(ended) <= {"end completed", "end LeaseLost", "end Conflict"}
    assert verdict.why == ()


async def test_of_processes_that_take_up_one_run_at_once_one_has_it() -> None:
    async with arena(URL, [PLACE]) as stage:
        async with worker(stage, PLACE, Client("first"), halt="step_done:1") as first:
            await first.said("at")
        run = await free_run(stage.store, PLACE)

        async with (
            worker(stage, PLACE, Client("second"), run=run) as second,
            worker(stage, PLACE, Client("third"), run=run) as third,
            worker(stage, PLACE, Client("fourth"), run=run) as fourth,
        ):
            ended = await _ends(second, third, fourth)
        verdict = await judge(stage.store, PLACE, WHOLE_RUN)

    assert sorted(ended) == ["end Conflict", "end Conflict", "end completed"]
    assert verdict.why == ()


async def _ends(*workers: Worker) -> list[str]:
    return await asyncio.gather(*(one.said("end") for one in workers))
