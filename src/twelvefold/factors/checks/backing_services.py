"""IV, backing services: the database, the model and the mail server, each swapped by URL alone."""

from dataclasses import dataclass
from email.utils import parseaddr

from twelvefold.config.parse import masked
from twelvefold.core.ports import Principal
from twelvefold.engine.commands import enqueue_run
from twelvefold.factors.harness.fake_model import StandIn
from twelvefold.factors.harness.fake_smtp import Letterbox
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene, count, until

SENDER = "factors@twelvefold.example"
SENT = "select count(*) as n from outbox where sent_at is not null"


@dataclass(frozen=True, slots=True)
class _Place:
    """A database, and what it is in words."""

    url: str
    words: str


async def backing_services(scene: Scene, witness: Witness) -> None:
    here = _Place(await scene.scratch.migrated(), _kind(scene))
    file = f"sqlite:///{scene.directory}/swapped.db"
    there = _Place(file, "an embedded file")
    async with scene.model() as model:
        await _database_and_model(scene, witness, model, here, there)
        await _mail(scene, witness, model, here)
    if scene.scratch.embedded:
        witness.saw("no database server is attached (DATABASE_URL), so these were two files")


def _kind(scene: Scene) -> str:
    return "the first" if scene.scratch.embedded else "the server of DATABASE_URL"


async def _database_and_model(
    scene: Scene, witness: Witness, model: StandIn, here: _Place, there: _Place
) -> None:
    settings = scene.clerk(here.url, model)
    runs = [
        {**settings, "OPENAI_BASE_URL": model.base_url("one")},
        {**settings, "OPENAI_BASE_URL": model.base_url("two")},
        {**settings, "OPENAI_BASE_URL": model.base_url("one"), "DATABASE_URL": there.url},
    ]
    answers = []
    for number, one in enumerate(runs):
        done = await scene.release.done("run", f"book swap-{number}", settings=one)
        answers.append(done.answer or done.last)
    names = [next((name for name in ("one", "two") if f" {name};" in one), one) for one in answers]
    witness.expect(
        names == ["one", "two", "one"],
        "the same command with another OPENAI_BASE_URL was answered by the other model",
        f"the models one, two, one were to answer; it was {', '.join(names)}",
    )
    found = []
    for place in (here, there):
        async with scene.scratch.services(place.url) as opened:
            found.append(await count(opened, "select count(*) as n from factors_bookings"))
    witness.expect(
        found == [2, 1],
        f"with another DATABASE_URL its rows went to {there.words} in place of {here.words}",
        f"{here.words} was to have 2 rows and {there.words} 1; they have {found[0]} and {found[1]}",
    )


async def _mail(scene: Scene, witness: Witness, model: StandIn, here: _Place) -> None:
    sender = scene.settings.mail_from or SENDER
    to = parseaddr(sender)[1]
    async with Letterbox().serving() as first, Letterbox().serving() as second:
        if attached := scene.settings.smtp_url:
            await _sent(scene, model, here, attached, "mail-attached", to)
            witness.saw(f"the mail server of SMTP_URL took a letter to {to}")
        for box, ref in ((first, "mail-1"), (second, "mail-2")):
            await _sent(scene, model, here, box.url, ref, to)
        subjects = [[one.split(": ")[-1] for one in box.subjects] for box in (first, second)]
    witness.expect(
        subjects == [["mail-1"], ["mail-2"]],
        "with another SMTP_URL a worker's letter went to the other of two servers on loopback",
        f"two servers on loopback were to have a letter each; they have {subjects}",
    )
    if not attached:
        witness.saw("no mail server is attached (SMTP_URL)")


async def _sent(
    scene: Scene, model: StandIn, here: _Place, smtp_url: str, ref: str, to: str
) -> None:
    """Have a worker with this SMTP_URL write a letter, and wait until it is taken."""
    sender = scene.settings.mail_from or SENDER
    settings = scene.clerk(here.url, model, SMTP_URL=smtp_url, MAIL_FROM=sender)
    async with scene.scratch.services(here.url) as opened:
        before = await count(opened, SENT)
        said = {"type": "message", "role": "user", "content": f"write {ref} {to}"}
        await enqueue_run(opened, workflow="clerk", principal=Principal("iv"), items=[said])
        worker = await scene.release.start("worker", settings=settings)

        async def taken() -> bool:
            if worker.status is not None:
                raise RuntimeError(f"worker ended with {worker.status}: {worker.last}")
            return await count(opened, SENT) > before

        await until(taken, f"a letter taken by {masked(smtp_url)}")
    await worker.kill()
