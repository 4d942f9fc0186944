"""Factor III, config: the password of the database is rotated while runs are in progress."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from twelvefold.engine import Services
from twelvefold.errors import StoreFailed, StoreRefused, StoreUnavailable
from twelvefold.factors.harness import FakeModelServer, Report, TestBed
from twelvefold.factors.harness.runs import (
    count_bookings,
    count_completed_runs,
    enqueue_message,
    fetch_rows,
)

ROTATIONS = 2
RUNS_PER_PASSWORD = 12
REPLY_S = 0.1
CONNECTIONS = "select id from information_schema.processlist where user = '{}'"
STATUSES = "select status, count(*) as n from runs group by status order by status"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the checks: its URL without a password, and the file that has it."""

    url: str
    name: str
    file: Path

    @classmethod
    def of(cls, url: str, file: Path) -> "Account":
        """Return the account of a URL, whose password is put into the file."""
        parts = urlsplit(url)
        host, name = parts.netloc.rpartition("@")[2], parts.username or ""
        account = cls(parts._replace(netloc=f"{name}@{host}").geturl(), name, file)
        account.write(parts.password or "")
        return account

    def write(self, password: str) -> None:
        """Replace the file, as the kubelet replaces those of a mounted secret."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{password}\n")
        new.replace(self.file)


async def check_rotation(bed: TestBed, report: Report) -> None:
    if bed.databases.is_embedded:
        report.record("the embedded database has no password to rotate")
        return
    url = await bed.databases.create_migrated()
    try:
        user = await bed.databases.create_user_without_ddl(url)
    except (StoreRefused, StoreFailed) as error:
        reason = f"no password was rotated: the database user may not create another one ({error})"
        report.mark_inconclusive(reason)
        return
    account = Account.of(user, bed.directory / "rotated-password")
    async with FakeModelServer().serve() as model, bed.databases.open_services(url) as services:
        model.delay_s = REPLY_S
        await _check_runs(bed, report, model, services, account)


async def _check_runs(
    bed: TestBed, report: Report, model: FakeModelServer, services: Services, account: Account
) -> None:
    file = str(account.file)
    settings = bed.process_settings(account.url, model, DATABASE_PASSWORD_FILE=file)
    worker = await bed.processes.start("worker", settings=settings)
    for number in range(ROTATIONS):
        await _enqueue(services, number)
        await _wait_for(bed, services, number * RUNS_PER_PASSWORD + 1)
        await _rotate(bed, services, account, server_first=number % 2 == 0)
    await _enqueue(services, ROTATIONS)
    total = (ROTATIONS + 1) * RUNS_PER_PASSWORD
    await _wait_for(bed, services, total)
    found = {row["status"]: row["n"] for row in await fetch_rows(services, STATUSES)}
    bookings = await count_bookings(services)
    replaced = [line["event"] for line in worker.log].count("secret_replaced")
    report.expect(
        found == {"completed": total} and set(bookings.values()) == {1} and replaced == ROTATIONS,
        f"the password of the database was rotated {ROTATIONS} times and its connections were "
        f"closed while a worker drove {total} runs: all were completed, each row was written once",
        f"{ROTATIONS} rotations of the database password: the worker read {replaced}; of {total} "
        f"runs the statuses are {found}, with {bookings.total()} rows",
    )


async def _enqueue(services: Services, number: int) -> None:
    for one in range(RUNS_PER_PASSWORD):
        await enqueue_message(services, f"book password-{number}-{one}")


async def _wait_for(bed: TestBed, services: Services, count: int) -> None:
    async def are_completed() -> bool:
        return await count_completed_runs(services) >= count

    await bed.wait_until(are_completed, f"{count} completed runs")


async def _rotate(
    bed: TestBed, services: Services, account: Account, *, server_first: bool
) -> None:
    """Change the password, in the file before or after the server, and close all connections."""
    password = f"Tw-2{secrets.token_hex(12)}"
    if not server_first:
        account.write(password)
    await bed.databases.change_password(account.name, password)
    await _close_connections(services, account.name)
    if server_first:
        account.write(password)


async def _close_connections(services: Services, name: str) -> None:
    for row in await fetch_rows(services, CONNECTIONS.format(name)):
        # It may have ended, or the user of DATABASE_URL may not close it.
        with suppress(StoreRefused, StoreUnavailable):
            await services.store.run_script(f"KILL {row['id']}")
