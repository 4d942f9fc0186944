"""Factor V, build, release, run: a release has an id, and another release continues its runs."""

import signal

from twelvefold.core import RunId, ThreadId
from twelvefold.factors.harness import EXIT_TRY_AGAIN, FakeModelServer, Report, TestBed
from twelvefold.factors.harness.runs import count_bookings, fetch_rows

NEWER, OLDER = "factors-2", "factors-1"
SELECT_RELEASES = "select release_id from runs order by created_at"
SELECT_UNFINISHED = "select thread_id, ordinal from runs where finished_at is null"


async def check_build_release_run(bed: TestBed, report: Report) -> None:
    report.record(f"the id of the running release is {bed.release_id}")
    url = await bed.databases.create_migrated()
    async with FakeModelServer().serve() as model:
        await _check_id(bed, report, url, model)
        await _check_rollback(bed, report, url, model)


async def _check_id(bed: TestBed, report: Report, url: str, model: FakeModelServer) -> None:
    """Expect the id in `/version`, on every log line and in the row of the run."""
    web = await bed.processes.start_web(bed.process_settings(url, model, RELEASE_ID=NEWER))
    version = (await web.http.get("/version")).body.get("release")
    await web.http.post("/v1/responses", model="bookings", input="book named")
    await web.stop(signal.SIGTERM)
    lines = web.log
    without = [line for line in lines if line.get("release") != NEWER]
    report.expect(
        version == NEWER and bool(lines) and not without,
        f"RELEASE_ID={NEWER} is in /version and on each of {len(lines)} log lines of web",
        f"/version returned {version!r}; {len(without)} of {len(lines)} log lines lack {NEWER}",
    )
    async with bed.databases.open_services(url) as services:
        stored = [row["release_id"] for row in await fetch_rows(services, SELECT_RELEASES)]
    report.expect(
        stored == [NEWER],
        f"the row of the run has {NEWER}",
        f"the rows of the runs have {stored}, not {NEWER}",
    )


async def _check_rollback(bed: TestBed, report: Report, url: str, model: FakeModelServer) -> None:
    """Expect that the older release completes a run that the newer one started."""
    settings = bed.process_settings(url, model, RELEASE_ID=NEWER)
    status = await _interrupt_run(bed, settings, model)
    async with bed.databases.open_services(url) as services:
        (run,) = await fetch_rows(services, SELECT_UNFINISHED)
        id = str(RunId(ThreadId(run["thread_id"]), run["ordinal"]))
        older = {**settings, "RELEASE_ID": OLDER}
        resumed = await bed.processes.run("runs", "resume", id, settings=older)
        rows = (await count_bookings(services))["rolled"]
    report.expect(
        (status, resumed.exit_status, rows) == (EXIT_TRY_AGAIN, 0, 1),
        f"{OLDER}, the same code under another id, completed a run that {NEWER} left unfinished: "
        "a rollback with runs in progress",
        f"{NEWER} exited with {status} in the middle of a run; {OLDER} exited with "
        f"{resumed.exit_status} ({resumed.last_line}); the tool wrote {rows} rows",
    )


async def _interrupt_run(bed: TestBed, settings: dict[str, str], model: FakeModelServer) -> int:
    """Stop a run after its tool call and return the exit status."""
    barrier = model.block_reply("rolled", 2)
    process = await bed.processes.start("run", "book rolled", settings=settings)
    await barrier.reached.wait()
    status = await process.stop(signal.SIGTERM)
    barrier.release()
    return status
