"""Factor IV, backing services: database, model and mail server are each changed by a URL alone."""

import signal
from dataclasses import dataclass
from email.utils import parseaddr

from twelvefold.config.parse import masked
from twelvefold.factors.harness import FakeModelServer, FakeSMTPServer, Report, TestBed
from twelvefold.factors.harness.runs import count_bookings, enqueue_message, fetch_count

DEFAULT_SENDER = "factors@twelvefold.example"
COUNT_SENT = "select count(*) as n from outbox where sent_at is not null"


@dataclass(frozen=True, slots=True)
class _Database:
    url: str
    description: str


async def check_backing_services(bed: TestBed, report: Report) -> None:
    embedded = bed.databases.is_embedded
    description = "a first file" if embedded else "the server of DATABASE_URL"
    first = _Database(await bed.databases.create_migrated(), description)
    second = _Database(f"sqlite:///{bed.directory}/second.db", "an embedded file")
    async with FakeModelServer().serve() as model:
        await _check_database_and_model(bed, report, model, first, second)
        await _check_mail(bed, report, model, first.url)
    if embedded:
        report.record("DATABASE_URL names no server, so both databases were files")


async def _check_database_and_model(
    bed: TestBed, report: Report, model: FakeModelServer, first: _Database, second: _Database
) -> None:
    settings = bed.process_settings(first.url, model)
    changes = [
        {"OPENAI_BASE_URL": model.base_url("one")},
        {"OPENAI_BASE_URL": model.base_url("two")},
        {"OPENAI_BASE_URL": model.base_url("one"), "DATABASE_URL": second.url},
    ]
    names = []
    for number, change in enumerate(changes):
        process = await bed.processes.run(
            "run", f"book swap-{number}", settings={**settings, **change}
        )
        names.append(_model_name(process.output or process.last_line))
    report.expect(
        names == ["one", "two", "one"],
        "the same command with another OPENAI_BASE_URL used the other model",
        f"the models one, two, one were expected to answer; the answers: {', '.join(names)}",
    )
    await _check_bookings(bed, report, first, second)


def _model_name(answer: str) -> str:
    """Return the model that the fake server names in its answer, or the whole answer."""
    return next((name for name in ("one", "two") if f"Model {name};" in answer), answer)


async def _check_bookings(
    bed: TestBed, report: Report, first: _Database, second: _Database
) -> None:
    rows = []
    for database in (first, second):
        async with bed.databases.open_services(database.url) as services:
            rows.append((await count_bookings(services)).total())
    report.expect(
        rows == [2, 1],
        f"with another DATABASE_URL the rows were written to {second.description} instead of "
        f"{first.description}",
        f"expected 2 rows in {first.description} and 1 in {second.description}; found {rows[0]} "
        f"and {rows[1]}",
    )


async def _check_mail(bed: TestBed, report: Report, model: FakeModelServer, url: str) -> None:
    attached = bed.settings.smtp_url
    async with FakeSMTPServer().serve() as first, FakeSMTPServer().serve() as second:
        if attached:
            recipient = await _send(bed, model, url, attached, "mail-attached")
            report.record(f"the mail server of SMTP_URL accepted a message to {recipient}")
        await _send(bed, model, url, first.url, "mail-1")
        await _send(bed, model, url, second.url, "mail-2")
        received = [[one.split(": ")[-1] for one in box.subjects] for box in (first, second)]
    report.expect(
        received == [["mail-1"], ["mail-2"]],
        "with another SMTP_URL the worker sent to the other of two servers on loopback",
        f"two servers on loopback were expected to get a message each; they got {received}",
    )
    if not attached:
        report.record("SMTP_URL is not set: no mail server is attached")


async def _send(bed: TestBed, model: FakeModelServer, url: str, smtp_url: str, ref: str) -> str:
    """Send a message with a worker that has this SMTP_URL; returns the recipient."""
    sender = bed.settings.mail_from or DEFAULT_SENDER
    recipient = parseaddr(sender)[1]
    async with bed.databases.open_services(url) as services:
        before = await fetch_count(services, COUNT_SENT)
        await enqueue_message(services, f"mail {ref} {recipient}")
        settings = bed.process_settings(url, model, SMTP_URL=smtp_url, MAIL_FROM=sender)
        worker = await bed.processes.start("worker", settings=settings)

        async def is_sent() -> bool:
            if worker.exit_status is not None:
                raise RuntimeError(f"worker exited with {worker.exit_status}: {worker.last_line}")
            return await fetch_count(services, COUNT_SENT) > before

        await bed.wait_until(is_sent, f"a message accepted by {masked(smtp_url)}")
    await worker.stop(signal.SIGKILL)
    return recipient
