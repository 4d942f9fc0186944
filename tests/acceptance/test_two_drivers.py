"""Two processes want one thread: one has it, the other stops and has written nothing."""

import asyncio
import os

import pytest

from tests.acceptance.academy import Place, judge
from tests.acceptance.crash import Arena, arena, free_run, worker
from tests.acceptance.crash_model import Client, journal_of

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")
PLACE = Place(1)
WHOLE_RUN = journal_of("in_turn")
KEPT_S = 600.0
"""The lease of a process that must not lose the run to another one while it works."""


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
        async with worker(stage, PLACE, Client("second"), run=run, lease_s=KEPT_S) as second:
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
        async with (
            worker(stage, PLACE, Client("second"), run=run, lease_s=KEPT_S) as second,
            asyncio.TaskGroup() as tasks,
        ):
            second_ends = tasks.create_task(second.said("end"))
            # Its wait for the lock has an end: on a slow machine that may come first.
            while not (second_ends.done() or await _a_claim_waits(stage)):
                await asyncio.sleep(0.01)
            slow.go_on()
            ended = {await slow.said("end"), await second_ends}
        verdict = await judge(stage.store, PLACE, WHOLE_RUN)

    assert "end completed" in ended
    assert ended <= {"end completed", "end LeaseLost", "end Conflict", "end TooLate"}
    assert verdict.why == ()


async def _a_claim_waits(stage: Arena) -> bool:
    """Whether a statement of the arena's database waits for the lock of a row."""
    async with stage.store.read() as db:
        waiting = await db.fetch_all(
            "select 1 from information_schema.innodb_trx t join information_schema.processlist p"
            " on p.id = t.trx_mysql_thread_id where p.db = database()"
            " and t.trx_state = 'LOCK WAIT'"
        )
    return bool(waiting)


async def test_of_processes_that_take_up_one_run_at_once_one_has_it() -> None:
    async with arena(URL, [PLACE]) as stage:
        async with worker(stage, PLACE, Client("first"), halt="step_done:1") as first:
            await first.said("at")
        run = await free_run(stage.store, PLACE)

        async with (
            worker(
                stage, PLACE, Client("second"), halt="claimed", run=run, lease_s=KEPT_S
            ) as second,
            worker(stage, PLACE, Client("third"), halt="claimed", run=run, lease_s=KEPT_S) as third,
            worker(
                stage, PLACE, Client("fourth"), halt="claimed", run=run, lease_s=KEPT_S
            ) as fourth,
        ):
            several = (second, third, fourth)
            found = await asyncio.gather(*(one.said("at", "end") for one in several))
            for one, said in zip(several, found, strict=True):
                if said == "at claimed":
                    one.go_on()
                    ended = await one.said("end")
        verdict = await judge(stage.store, PLACE, WHOLE_RUN)

    assert sorted(found) == ["at claimed", "end Conflict", "end Conflict"]
    assert ended == "end completed"
    assert verdict.why == ()
