"""Factor X, dev/prod parity: the database server is one that the release was tested on."""

import json
import socket
from typing import Any

from twelvefold.factors.harness import EXIT_BAD_SETTINGS, EXIT_TRY_AGAIN, Report, TestBed
from twelvefold.factors.harness.workflow import IMPORT_PATH


async def check_dev_prod_parity(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_migrated()
    findings = await _run_doctor(bed, url)
    failed = [f"{one['what']}: {one['found']}" for one in findings if one["level"] == "fail"]
    report.expect(
        not failed,
        "`twelvefold doctor` found no error in the attached services",
        f"`twelvefold doctor` reported {'; '.join(failed)}",
    )
    await _check_no_fallback(bed, report)
    if bed.databases.is_embedded:
        report.mark_not_claimed(
            "the database is the embedded SQLite, which is for trying things out; parity needs "
            "the MySQL or MariaDB of the deploy: set DATABASE_URL"
        )
        return
    _report_parity(findings, report)
    await _check_rejection(bed, report, url)


async def _run_doctor(bed: TestBed, url: str) -> list[dict[str, Any]]:
    settings = {"DATABASE_URL": url, "WORKFLOWS": IMPORT_PATH}
    doctor = await bed.processes.run("doctor", "--json", settings=settings)
    return [json.loads(line) for line in doctor.output.splitlines()]


async def _check_no_fallback(bed: TestBed, report: Report) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"DATABASE_URL": f"mysql://user:password@127.0.0.1:{port}/database"}
    process = await bed.processes.run("run", "hello", settings=settings)
    report.expect(
        process.exit_status == EXIT_TRY_AGAIN,
        f"without a server at DATABASE_URL `run` exited with {EXIT_TRY_AGAIN} and used no other "
        "database",
        f"without a server at DATABASE_URL `run` exited with {process.exit_status}: "
        f"{process.last_line}",
    )


def _report_parity(findings: list[dict[str, Any]], report: Report) -> None:
    """Report how doctor compares the server with the ones that the release was tested on."""
    server = next(one["found"] for one in findings if one["what"] == "database")
    compared = [one for one in findings if one["what"] == "parity"]
    comparison = "; ".join(one["found"] for one in compared)
    if not compared:
        report.fail(f"the server is {server}, and doctor does not compare it with a tested one")
    elif all(one["level"] == "ok" for one in compared):
        report.record(f"the server is {server}: {comparison}")
    else:
        report.mark_not_claimed(f"the server is {server}: {comparison}")


async def _check_rejection(bed: TestBed, report: Report, url: str) -> None:
    """Expect that a session in a character set that would lose characters is rejected."""
    settings = {"DATABASE_URL": f"{url}{'&' if '?' in url else '?'}charset=latin1"}
    process = await bed.processes.run("run", "hello", settings=settings)
    report.expect(
        process.exit_status == EXIT_BAD_SETTINGS and "utf8mb4" in process.last_line,
        f"a session in another character set was rejected: {process.last_line}",
        f"a session in another character set was accepted: exit status {process.exit_status}, "
        f"{process.last_line}",
    )
