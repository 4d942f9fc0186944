"""IX, disposability: processes start fast, end in good order, and may be killed anywhere."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twelvefold.core.ports import Principal
from twelvefold.engine.commands import enqueue_run
from twelvefold.engine.services import Services
from twelvefold.factors.checks.concurrency import EVENTS_OF_A_RUN
from twelvefold.factors.harness.fake_model import Hold, StandIn
from twelvefold.factors.harness.http_client import streamed
from twelvefold.factors.harness.machine_load import scaled
from twelvefold.factors.harness.processes import Running
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.testbed import Scene, count, rows, until

READY_S = 10.0
"""A process that takes longer to be ready cannot be called disposable, on any machine."""
GRACE_S = 1
LEASE_S = 2
"""How long a killed process's runs wait. Short only here: on a slow machine a live one may lose a
short lease, and another would rightly take its run over."""
FINISHED = "select count(*) as n from runs where status = 'completed'"
BOOKED = "select ref from factors_bookings"
HELD = "select count(*) as n from runs where lease_until > 0 and finished_at is null"


async def disposability(scene: Scene, witness: Witness) -> None:
    async with scene.model() as model, asyncio.TaskGroup() as tasks:
        url = await scene.scratch.migrated()
        web = await _ready(scene, witness, scene.clerk(url, model, GRACE_S=str(GRACE_S)))
        scene.calm.set()
        tasks.create_task(_streams(scene, witness, model, url, web))
        tasks.create_task(_workers(scene, witness, model))


async def _ready(scene: Scene, witness: Witness, settings: Mapping[str, str]) -> Running:
    web = await scene.release.web(settings)
    witness.expect_in_time(
        web.ready_s < READY_S,
        f"a web process was ready {web.ready_s:.2f} s after its start",
        f"a web process was ready after {web.ready_s:.1f} s, more than {READY_S:g} s",
    )
    return web


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the workers stand on."""

    scene: Scene
    model: StandIn
    services: Services
    url: str

    async def worker(self) -> Running:
        limits = {"GRACE_S": str(GRACE_S), "LEASE_S": str(LEASE_S)}
        settings = self.scene.clerk(self.url, self.model, **limits)
        return await self.scene.release.start("worker", settings=settings)

    async def brought_to(self, ref: str, hold: Hold) -> Hold:
        """A new run, which a worker has taken as far as this place."""
        said = {"type": "message", "role": "user", "content": f"book {ref}"}
        await enqueue_run(self.services, workflow="clerk", principal=Principal("ix"), items=[said])

        async def there() -> bool:
            return hold.reached.is_set()

        await until(there, f"the run {ref} at the place where it is to be held")
        return hold

    async def booked(self) -> Counter[str]:
        return Counter(row["ref"] for row in await rows(self.services, BOOKED))


async def _workers(scene: Scene, witness: Witness, model: StandIn) -> None:
    url = await scene.scratch.migrated()
    async with scene.scratch.services(url) as services:
        desk = _Desk(scene, model, services, url)
        await _told_to_end(desk, witness)
        await _killed(desk, witness)
        await _finished(desk, witness)


async def _told_to_end(desk: _Desk, witness: Witness) -> None:
    worker = await desk.worker()
    asking = await desk.brought_to("term-model", desk.model.hold_reply("term-model", 1))
    writing = await desk.brought_to("term-tool", desk.model.hold_call("term-tool"))
    worker.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    writing.free.set()
    status = await worker.ended()
    asking.free.set()
    booked, held = await desk.booked(), await count(desk.services, HELD)
    witness.expect(
        (status, held, booked) == (0, 0, Counter({"term-tool": 1})),
        "SIGTERM with one run in a model call and one in a tool's transaction: the tool's step "
        f"was finished, the model's given up after GRACE_S={GRACE_S}, both runs given back, exit 0",
        f"SIGTERM in a model call and in a tool's transaction: exit {status}, {held} leases are "
        f"still held, the tool's rows are {dict(booked)}",
    )


async def _killed(desk: _Desk, witness: Witness) -> None:
    worker = await desk.worker()
    holds = [
        await desk.brought_to("kill-asking", desk.model.hold_reply("kill-asking", 1)),
        await desk.brought_to("kill-after", desk.model.hold_reply("kill-after", 2)),
        await desk.brought_to("kill-in", desk.model.hold_call("kill-in")),
    ]
    await worker.end(signal.SIGKILL)
    for hold in holds:
        hold.free.set()
    booked = await desk.booked()
    there = booked["kill-asking"], booked["kill-in"], booked["kill-after"]
    witness.expect(
        there == (0, 0, 1),
        "SIGKILL with a run in a reply, one in a tool's transaction and one behind its commit: "
        "just the committed row is there",
        f"SIGKILL in a reply, in a tool's transaction and behind its commit leaves {there} rows",
    )


async def _finished(desk: _Desk, witness: Witness) -> None:
    """Another worker ends what the two have left, once each, and then has nothing to do."""
    worker = await desk.worker()
    total = await count(desk.services, "select count(*) as n from runs")

    async def over() -> bool:
        return await count(desk.services, FINISHED) == total

    await until(over, f"all of {total} interrupted runs finished by another worker")
    booked = await desk.booked()
    journals: dict[str, list[str]] = {}
    select = "select thread_id, type from events order by thread_id, position"
    for row in await rows(desk.services, select):
        journals.setdefault(row["thread_id"], []).append(row["type"])
    whole = all(one == EVENTS_OF_A_RUN for one in journals.values())
    witness.expect(
        whole and len(booked) == total and set(booked.values()) == {1},
        f"another worker finished all {total}: each journal without a gap, each row there once",
        f"after another worker's end of all {total} the rows are {dict(booked)}, the journals "
        f"{'whole' if whole else list(journals.values())}",
    )
    await _idle(worker, witness)


async def _idle(process: Running, witness: Witness) -> None:
    status = await process.end(signal.SIGTERM)
    witness.expect(
        status == 0,
        f"SIGTERM to an idle {process.name}: exit 0",
        f"SIGTERM to an idle {process.name}: exit {status}",
    )


async def _streams(scene: Scene, witness: Witness, model: StandIn, url: str, web: Running) -> None:
    hold = model.hold_reply("stream", 2)
    seen: list[dict[str, object]] = []
    body = {"model": "clerk", "input": "book stream", "stream": True}
    async with asyncio.timeout(scaled(30)), streamed(web.port, "/v1/responses", **body) as events:
        async for event in events:
            seen.append(event)
            if event["type"] == "response.output_text.delta" and web.status is None:
                await hold.reached.wait()
                web.process.send_signal(signal.SIGTERM)
                break
        seen += [event async for event in events]
        status = await web.ended()
    hold.free.set()
    other = await scene.release.web(scene.clerk(url, model, WEB_DRIVES="background"))
    await _goes_on(other, seen, status, witness)
    await _idle(other, witness)


async def _goes_on(
    other: Running, seen: Sequence[dict[str, object]], status: int, witness: Witness
) -> None:
    """The rest of the stream, at a process that takes the run up."""
    response = seen[0]["response"]
    id = response["id"] if isinstance(response, dict) else ""
    path = f"/v1/responses/{id}?stream=true&starting_after={seen[-1]['sequence_number']}"
    async with asyncio.timeout(scaled(20)), streamed(other.port, path) as events:
        rest = [event async for event in events]
    numbers = [event["sequence_number"] for event in (*seen, *rest)]
    last = rest[-1]["type"] if rest else "nothing"
    witness.expect(
        (status, last) == (0, "response.completed") and numbers == list(range(len(numbers))),
        f"SIGTERM in a stream after {len(seen)} events: exit 0; another process drove the run on, "
        f"and told the other {len(rest)} without a gap",
        f"SIGTERM in a stream: exit {status}; another process's last event was {last}, and the "
        f"numbers were {numbers}",
    )
