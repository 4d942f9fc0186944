"""VIII, concurrency: more work is done by more processes, and nothing twice."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from twelvefold.core.ids import RunId
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.factors.harness.fake_model import StandIn
from twelvefold.factors.harness.processes import Running
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene, count, rows, until

RUNS = 24
AT_ONCE = 2
"""Runs that one worker takes, so that there are some left for the others."""
ROUNDS = (1, 2, 4)
FINISHED = "select count(*) as n from runs where status = 'completed'"
EVENTS_OF_A_RUN = ["RunStarted", "ModelReplied", "ToolSucceeded", "ModelReplied", "RunFinished"]


async def concurrency(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.migrated()
    workers: list[Running] = []
    async with scene.model() as model, scene.scratch.services(url) as services:
        model.pace_s = 0.05
        settings = scene.clerk(url, model, MAX_RUNS=str(AT_ONCE))
        for number in ROUNDS:
            more = number - len(workers)
            async with asyncio.TaskGroup() as tasks:
                starts = [
                    tasks.create_task(scene.release.start("worker", settings=settings))
                    for _ in range(more)
                ]
            workers += [start.result() for start in starts]
            await _round(services, model, workers, witness)
    if scene.scratch.embedded:
        witness.saw("on the embedded file all workers are of one machine")


async def _round(
    services: Services, model: StandIn, workers: Sequence[Running], witness: Witness
) -> None:
    async def begun() -> bool:
        return all(any(one["event"] == "worker_started" for one in w.log) for w in workers)

    await until(begun, f"{len(workers)} workers under way")
    refs = [f"round-{len(workers)}-{number}" for number in range(RUNS)]
    runs = [await _enqueued(services, ref) for ref in refs]
    total = await count(services, "select count(*) as n from runs")

    async def finished() -> bool:
        return await count(services, FINISHED) == total

    await until(finished, f"{total} runs finished by {len(workers)} workers")
    await asyncio.sleep(0.2)  # for the last words of a driver that came second
    shares = [_taken_up(worker, runs) for worker in workers]
    why = [*_driven_twice(shares), *await _done_twice(services, model, refs)]
    at_work = sum(bool(share) for share in shares)
    if at_work < min(2, len(workers)):
        why.append(f"{at_work} of them did all the work, as if there could be but one")
    witness.expect(
        not why,
        f"{len(workers)} {'worker' if len(workers) == 1 else 'workers'}: {RUNS} runs "
        f"({' + '.join(str(share.total()) for share in shares)}), each driven once, each row there "
        "once, the model asked twice for each",
        f"{len(workers)} workers: {'; '.join(why[:3])}",
    )


async def _enqueued(services: Services, ref: str) -> RunId:
    said = {"type": "message", "role": "user", "content": f"book {ref}"}
    who = Principal("viii")
    run, _ = await enqueue_run(services, workflow="clerk", principal=who, items=[said])
    return run


def _taken_up(worker: Running, runs: Sequence[RunId]) -> Counter[str]:
    ours = {str(run) for run in runs}
    lines = (one for one in worker.log if one["event"] == "run_taken_up")
    return Counter(one["run"] for one in lines if one["run"] in ours)


def _driven_twice(shares: Sequence[Counter[str]]) -> list[str]:
    drives = sum(shares, Counter[str]())
    twice = sum(1 for number in drives.values() if number > 1)
    why = [f"{twice} of {RUNS} runs were driven more than once"] if twice else []
    return why + ([] if len(drives) == RUNS else [f"{len(drives)} of {RUNS} runs were driven"])


async def _done_twice(services: Services, model: StandIn, refs: Sequence[str]) -> list[str]:
    booked = Counter(row["ref"] for row in await rows(services, "select ref from factors_bookings"))
    asked = {ref: model.asked[f"model {ref}"] for ref in refs}
    journals: dict[str, list[str]] = {}
    select = "select thread_id, type from events order by thread_id, position"
    for row in await rows(services, select):
        journals.setdefault(row["thread_id"], []).append(row["type"])
    why = [f"{ref} has {booked[ref]} rows" for ref in refs if booked[ref] != 1]
    why += [f"the model was asked {n} times for {ref}" for ref, n in asked.items() if n != 2]
    return why + [f"a journal is {one}" for one in journals.values() if one != EVENTS_OF_A_RUN]
