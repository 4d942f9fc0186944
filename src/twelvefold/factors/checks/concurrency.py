"""Factor VIII, concurrency: more processes do more work, and no work is done twice."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from twelvefold.core import RunId
from twelvefold.engine import Services
from twelvefold.factors.harness import FakeModelServer, Process, Report, TestBed
from twelvefold.factors.harness.runs import (
    EVENTS_OF_A_RUN,
    count_bookings,
    count_completed_runs,
    count_runs,
    enqueue_message,
    read_journals,
)

RUNS_PER_ROUND = 24
MAX_RUNS = 2
"""Concurrent runs of one worker: low, so that runs remain for the others."""
WORKERS_PER_ROUND = (1, 2, 4)


async def check_concurrency(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_migrated()
    workers: list[Process] = []
    async with FakeModelServer().serve() as model, bed.databases.open_services(url) as services:
        model.delay_s = 0.05
        settings = bed.process_settings(url, model, MAX_RUNS=str(MAX_RUNS))
        for total in WORKERS_PER_ROUND:
            async with asyncio.TaskGroup() as tasks:
                starts = [
                    tasks.create_task(bed.processes.start("worker", settings=settings))
                    for _ in range(total - len(workers))
                ]
            workers += [start.result() for start in starts]
            await _run_round(bed, services, model, workers, report)
    if bed.databases.is_embedded:
        report.record("with the embedded file all workers run on one machine")


async def _run_round(
    bed: TestBed,
    services: Services,
    model: FakeModelServer,
    workers: Sequence[Process],
    report: Report,
) -> None:
    await _wait_for_workers(bed, workers)
    refs = [f"round-{len(workers)}-{number}" for number in range(RUNS_PER_ROUND)]
    model.is_open.clear()
    runs = [await enqueue_message(services, f"book {ref}") for ref in refs]
    await _wait_for_claims(bed, workers, runs)
    model.is_open.set()
    await _wait_for_runs(bed, services, workers)
    shares = [_claimed(worker, runs) for worker in workers]
    errors = [*_errors_of_claims(shares), *await _errors_of_effects(services, model, refs)]
    _report_round(shares, errors, report)


async def _wait_for_workers(bed: TestBed, workers: Sequence[Process]) -> None:
    async def are_started() -> bool:
        logs = [worker.log for worker in workers]
        return all(any(line["event"] == "worker_started" for line in log) for log in logs)

    await bed.wait_until(are_started, f"{len(workers)} workers started")


async def _wait_for_claims(bed: TestBed, workers: Sequence[Process], runs: Sequence[RunId]) -> None:
    """Wait until each worker has a run. None of them can end one, so none takes all of them."""

    async def have_claimed() -> bool:
        return all(_claimed(worker, runs) for worker in workers)

    await bed.wait_until(have_claimed, f"a run claimed by each of {len(workers)} workers")


async def _wait_for_runs(bed: TestBed, services: Services, workers: Sequence[Process]) -> None:
    total = await count_runs(services)

    async def are_completed() -> bool:
        return await count_completed_runs(services) == total

    await bed.wait_until(are_completed, f"{total} runs completed by {len(workers)} workers")
    await asyncio.sleep(0.2)  # for log lines and requests of a second claim


def _claimed(worker: Process, runs: Sequence[RunId]) -> Counter[str]:
    """Return how often the worker claimed each of the runs."""
    ids = {str(run) for run in runs}
    lines = (line for line in worker.log if line["event"] == "run_taken_up")
    return Counter(line["run"] for line in lines if line["run"] in ids)


def _errors_of_claims(shares: Sequence[Counter[str]]) -> list[str]:
    claims = sum(shares, Counter[str]())
    repeated = sum(1 for number in claims.values() if number > 1)
    errors = [f"{repeated} of {RUNS_PER_ROUND} runs were claimed repeatedly"] if repeated else []
    if len(claims) != RUNS_PER_ROUND:
        errors.append(f"{len(claims)} of {RUNS_PER_ROUND} runs were claimed")
    return errors


async def _errors_of_effects(
    services: Services, model: FakeModelServer, refs: Sequence[str]
) -> list[str]:
    bookings = await count_bookings(services)
    requests = {ref: model.requests["model", ref] for ref in refs}
    errors = [f"{ref} has {bookings[ref]} rows" for ref in refs if bookings[ref] != 1]
    errors += [f"{ref} took {n} model requests" for ref, n in requests.items() if n != 2]
    journals = await read_journals(services)
    return errors + [f"a journal has {one}" for one in journals if one != EVENTS_OF_A_RUN]


def _report_round(shares: Sequence[Counter[str]], errors: Sequence[str], report: Report) -> None:
    title = f"{len(shares)} {'worker' if len(shares) == 1 else 'workers'}"
    parts = " + ".join(str(share.total()) for share in shares)
    report.expect(
        not errors,
        f"{title}: {RUNS_PER_ROUND} runs ({parts}), each with one claim, one row and two model "
        "requests",
        f"{title}: {'; '.join(errors[:3])}",
    )
