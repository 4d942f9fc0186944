"""V, build, release, run: which release did what. XII, admin processes: of the same release."""

import json
import signal
from collections.abc import Mapping

from twelvefold import __version__
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.errors import StoreFailed, StoreRefused
from twelvefold.factors.harness.fake_model import StandIn
from twelvefold.factors.harness.http_client import get, post
from twelvefold.factors.harness.processes import Running
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene, count, rows

NEWER, OLDER = "factors-2", "factors-1"
TRY_AGAIN, BAD_SETTINGS = 75, 2
RELEASES = "select release_id as one from runs order by created_at"
TABLES = "select count(*) as n from information_schema.tables where table_schema = database()"


async def build_release_run(scene: Scene, witness: Witness) -> None:
    witness.saw(f"the release that runs calls itself {scene.release_id}")
    url = await scene.scratch.migrated()
    async with scene.model() as model:
        await _named(scene, witness, url, model)
        await _rolled_back(scene, witness, url, model)


async def _named(scene: Scene, witness: Witness, url: str, model: StandIn) -> None:
    """Every place where a release has to say which it is."""
    web = await scene.release.web(scene.clerk(url, model, RELEASE_ID=NEWER))
    told = (await get(web.port, "/version")).body.get("release")
    await post(web.port, "/v1/responses", model="clerk", input="book named")
    await web.end(signal.SIGTERM)
    nameless = [line for line in web.log if line.get("release") != NEWER]
    witness.expect(
        told == NEWER and bool(web.log) and not nameless,
        f"RELEASE_ID={NEWER} is told by /version and stands on each of web's {len(web.log)} log "
        "lines",
        f"/version says {told!r}; {len(nameless)} of {len(web.log)} log lines do not say {NEWER}",
    )
    async with scene.scratch.services(url) as services:
        noted = [row["one"] for row in await rows(services, RELEASES)]
    witness.expect(
        noted == [NEWER],
        f"the run's own row says {NEWER}",
        f"the runs' rows say {noted}, not {NEWER}",
    )


async def _rolled_back(scene: Scene, witness: Witness, url: str, model: StandIn) -> None:
    """A run that a newer release began is finished by the one before it."""
    hold = model.hold_reply("rolled", 2)
    settings = scene.clerk(url, model, RELEASE_ID=NEWER)
    running = await scene.release.start("run", "book rolled", settings=settings)
    await hold.reached.wait()
    status = await running.end(signal.SIGTERM)
    hold.free.set()
    async with scene.scratch.services(url) as services:
        (run,) = await rows(
            services, "select thread_id, ordinal from runs where finished_at is null"
        )
    id = str(RunId(ThreadId(run["thread_id"]), run["ordinal"]))
    older = {**settings, "RELEASE_ID": OLDER}
    resumed = await scene.release.done("runs", "resume", id, settings=older)
    async with scene.scratch.services(url) as services:
        booked = await count(
            services, "select count(*) as n from factors_bookings where ref = 'rolled'"
        )
    witness.expect(
        (status, resumed.status, booked) == (TRY_AGAIN, 0, 1),
        f"a run that {NEWER} left in the middle was finished by {OLDER}, the same code under "
        "another release id: a roll back with runs in flight",
        f"{NEWER} left a run with {status}; {OLDER} ended with {resumed.status} "
        f"({resumed.last}), and its tool's rows are {booked}",
    )


async def admin_processes(scene: Scene, witness: Witness) -> None:
    url = await scene.scratch.empty()
    async with scene.model() as model:
        settings = scene.clerk(url, model)
        if not scene.scratch.embedded:
            await _never_by_themselves(scene, witness, url, settings)
        await _one_offs(scene, witness, settings)
        if scene.scratch.embedded:
            witness.leave(
                "the embedded file is brought up to date by whoever opens it, and has no users: "
                "that migrations are never implicit holds on a server"
            )
        else:
            await _without_ddl(scene, witness, url, settings)


async def _never_by_themselves(
    scene: Scene, witness: Witness, url: str, settings: Mapping[str, str]
) -> None:
    """Neither web nor worker makes a table, nor works without them."""
    settings = {**settings, "PORT": str(scene.release.free_port())}
    started = [await scene.release.start(one, settings=settings) for one in ("web", "worker")]
    for one in started:
        try:
            await one.ended()
        except TimeoutError:
            witness.fail(f"on an empty database {one.name} goes on working")
    async with scene.scratch.services(url) as services:
        tables = await count(services, TABLES)
    witness.expect(
        [one.status for one in started] == [BAD_SETTINGS] * 2 and not tables,
        f"on an empty database web and worker end with {BAD_SETTINGS} and make no table: "
        f"{started[0].last}",
        f"on an empty database web and worker end with {[one.status for one in started]} "
        f"({started[0].last}), and {tables} tables are there",
    )


async def _one_offs(scene: Scene, witness: Witness, settings: Mapping[str, str]) -> None:
    migrated = await scene.release.done("migrate", settings=settings)
    applied = migrated.answer.splitlines()
    witness.expect(
        migrated.status == 0 and bool(applied),
        f"`twelvefold migrate` made the tables: {', '.join(applied)}",
        f"`twelvefold migrate` ended with {migrated.status}: {migrated.last}",
    )
    commands: tuple[tuple[str, ...], ...] = (
        ("run", "book admin"),
        ("runs", "list", "--json"),
    )
    done: list[Running] = []
    for command in commands:
        done.append(await scene.release.done(*command, settings=settings))
    found = json.loads(done[1].answer or "{}").get("release", "")
    witness.expect(
        [one.status for one in done] == [0, 0] and found == __version__,
        f"`run` and `runs list` then worked on it, one-off processes of release {found}",
        f"`run` and `runs list` ended with {[one.status for one in done]}, of release {found!r}",
    )


async def _without_ddl(
    scene: Scene, witness: Witness, url: str, settings: Mapping[str, str]
) -> None:
    """Web and worker need no more of their database than to read and write rows."""
    try:
        limited = await scene.scratch.reader_and_writer(url)
    except (StoreRefused, StoreFailed) as error:
        witness.leave(
            f"that a database user without DDL suffices, as this one may make no other ({error})"
        )
        return
    web = await scene.release.web({**settings, "DATABASE_URL": limited, "WEB_DRIVES": "background"})
    answer = await post(web.port, "/v1/responses", model="clerk", input="book limited")
    witness.expect(
        answer.body.get("status") == "completed",
        "web, a worker too, drove a run as a database user with SELECT, INSERT, UPDATE and DELETE",
        f"as a database user without DDL a run gave HTTP {answer.status}: {answer.text[:200]}",
    )
