"""Factor IX, disposability: processes start fast, stop gracefully and survive SIGKILL."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twelvefold.engine import Services
from twelvefold.factors.harness import Barrier, FakeModelServer, Process, Report, TestBed
from twelvefold.factors.harness.runs import (
    EVENTS_OF_A_RUN,
    count_bookings,
    count_completed_runs,
    count_runs,
    enqueue_message,
    fetch_count,
    read_journals,
)

MAX_READY_S = 10.0
"""A process that takes longer to be ready is not disposable, on any machine."""
STREAM_TIMEOUT_S = 60.0
GRACE_S = 3
"""Long enough for the commit of a step on a busy machine; a model call is abandoned after it."""
LEASE_S = 2
"""How long the runs of a killed worker wait. Only workers have a short lease here: on a slow
machine a live process could lose it, and another one would correctly take over its run."""
COUNT_LEASES = "select count(*) as n from runs where lease_until > 0 and finished_at is null"


async def check_disposability(bed: TestBed, report: Report) -> None:
    async with FakeModelServer().serve() as model, asyncio.TaskGroup() as tasks:
        url = await bed.databases.create_migrated()
        settings = bed.process_settings(url, model, GRACE_S=str(GRACE_S))
        web = await _check_startup(bed, report, settings)
        bed.startup_measured.set()
        tasks.create_task(_check_stream(bed, report, model, url, web))
        tasks.create_task(_check_workers(bed, report, model))


async def _check_startup(bed: TestBed, report: Report, settings: Mapping[str, str]) -> Process:
    web = await bed.processes.start_web(settings)
    report.expect_in_time(
        web.ready_s < MAX_READY_S,
        f"a web process was ready {web.ready_s:.2f} s after its start",
        f"a web process was ready after {web.ready_s:.1f} s, more than {MAX_READY_S:g} s",
    )
    return web


async def _check_stream(
    bed: TestBed, report: Report, model: FakeModelServer, url: str, web: Process
) -> None:
    """Stop web in a stream and expect that another process continues it."""
    barrier = model.block_reply("stream", 2)
    events = await _read_until_stopped(bed, web, barrier)
    status = await web.wait()
    barrier.release()
    settings = bed.process_settings(url, model, WEB_DRIVES="background")
    other = await bed.processes.start_web(settings)
    rest = await _continue_stream(bed, other, events)
    numbers = [event["sequence_number"] for event in (*events, *rest)]
    last = rest[-1]["type"] if rest else "none"
    report.expect(
        (status, last) == (0, "response.completed") and numbers == list(range(len(numbers))),
        f"SIGTERM in a stream after {len(events)} events: exit status 0; another process completed "
        f"the run and sent the other {len(rest)} events without a gap",
        f"SIGTERM in a stream: exit status {status}; the last event of another process was {last}, "
        f"the sequence numbers were {numbers}",
    )
    await _check_idle(other, report)


async def _read_until_stopped(
    bed: TestBed, web: Process, barrier: Barrier
) -> list[dict[str, object]]:
    """Send SIGTERM at the first delta of a reply; returns all events that web sent."""
    seen: list[dict[str, object]] = []
    body = {"model": "bookings", "input": "book stream", "stream": True}
    async with (
        bed.timeout(STREAM_TIMEOUT_S),
        web.http.stream("/v1/responses", **body) as events,
    ):
        async for event in events:
            seen.append(event)
            if event["type"] == "response.output_text.delta":
                await barrier.reached.wait()
                web.send_signal(signal.SIGTERM)
                break
        seen += [event async for event in events]
    return seen


async def _continue_stream(
    bed: TestBed, web: Process, seen: Sequence[dict[str, object]]
) -> list[dict[str, object]]:
    response = seen[0]["response"]
    id = response["id"] if isinstance(response, dict) else ""
    path = f"/v1/responses/{id}?stream=true&starting_after={seen[-1]['sequence_number']}"
    async with bed.timeout(STREAM_TIMEOUT_S), web.http.stream(path) as events:
        return [event async for event in events]


async def _check_idle(process: Process, report: Report) -> None:
    status = await process.stop(signal.SIGTERM)
    report.expect(
        status == 0,
        f"SIGTERM to an idle {process.name}: exit status 0",
        f"SIGTERM to an idle {process.name}: exit status {status}",
    )


async def _check_workers(bed: TestBed, report: Report, model: FakeModelServer) -> None:
    url = await bed.databases.create_migrated()
    async with bed.databases.open_services(url) as services:
        workers = _Workers(bed, model, services, url)
        await _check_sigterm(workers, report)
        await _check_sigkill(workers, report)
        await _check_recovery(workers, report)


@dataclass(frozen=True, slots=True)
class _Workers:
    """Starts workers on one database and brings their runs to a barrier."""

    bed: TestBed
    model: FakeModelServer
    services: Services
    url: str

    async def start(self) -> Process:
        limits = {"GRACE_S": str(GRACE_S), "LEASE_S": str(LEASE_S)}
        settings = self.bed.process_settings(self.url, self.model, **limits)
        return await self.bed.processes.start("worker", settings=settings)

    async def run_to(self, barrier: Barrier, ref: str) -> Barrier:
        """Enqueue a run and wait until a worker has brought it to the barrier."""
        await enqueue_message(self.services, f"book {ref}")

        async def is_reached() -> bool:
            return barrier.reached.is_set()

        await self.bed.wait_until(is_reached, f"the run {ref} at its barrier")
        return barrier


async def _check_sigterm(workers: _Workers, report: Report) -> None:
    worker, model = await workers.start(), workers.model
    in_reply = await workers.run_to(model.block_reply("term-model", 1), "term-model")
    in_tool = await workers.run_to(model.block_call("term-tool"), "term-tool")
    worker.send_signal(signal.SIGTERM)

    async def is_stopping() -> bool:
        return any(line["event"] == "signal" for line in worker.log)

    await workers.bed.wait_until(is_stopping, "SIGTERM in the log of the worker")
    in_tool.release()
    status = await worker.wait()
    in_reply.release()
    rows = await count_bookings(workers.services)
    leases = await fetch_count(workers.services, COUNT_LEASES)
    report.expect(
        (status, leases, rows) == (0, 0, Counter({"term-tool": 1})),
        "SIGTERM with one run in a model call and one in the transaction of a tool: the tool's "
        f"step committed, the model call was abandoned after GRACE_S={GRACE_S}, both leases were "
        "released, exit status 0",
        f"SIGTERM in a model call and in the transaction of a tool: exit status {status}, {leases} "
        f"leases are still held, the tool's rows are {dict(rows)}",
    )


async def _check_sigkill(workers: _Workers, report: Report) -> None:
    worker, model = await workers.start(), workers.model
    barriers = [
        await workers.run_to(model.block_reply("kill-reply", 1), "kill-reply"),
        await workers.run_to(model.block_reply("kill-after", 2), "kill-after"),
        await workers.run_to(model.block_call("kill-tool"), "kill-tool"),
    ]
    await worker.stop(signal.SIGKILL)
    for barrier in barriers:
        barrier.release()
    bookings = await count_bookings(workers.services)
    rows = bookings["kill-reply"], bookings["kill-tool"], bookings["kill-after"]
    report.expect(
        rows == (0, 0, 1),
        "SIGKILL with one run in a reply, one in the transaction of a tool and one after its "
        "COMMIT: only the committed row exists",
        "SIGKILL in a reply, in the transaction of a tool and after its COMMIT: the numbers of "
        f"rows are {rows}",
    )


async def _check_recovery(workers: _Workers, report: Report) -> None:
    """Expect that another worker completes the interrupted runs, and then stops when idle."""
    worker = await workers.start()
    services = workers.services
    total = await count_runs(services)

    async def are_completed() -> bool:
        return await count_completed_runs(services) == total

    await workers.bed.wait_until(are_completed, f"{total} interrupted runs completed")
    rows, journals = await count_bookings(services), await read_journals(services)
    complete = all(journal == EVENTS_OF_A_RUN for journal in journals)
    report.expect(
        complete and len(rows) == total and set(rows.values()) == {1},
        f"another worker completed all {total} runs: each journal is complete, each "
        "row exists once",
        f"after another worker completed all {total} runs the rows are {dict(rows)} and the "
        f"journals {'complete' if complete else journals}",
    )
    await _check_idle(worker, report)
