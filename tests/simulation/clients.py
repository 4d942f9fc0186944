"""Processes that never fail: a client that starts runs, and a person who answers."""

import asyncio
import json
import random
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from tests.builders import user
from tests.simulation.loop import VirtualLoop, run_now
from tests.simulation.network import Network
from tests.simulation.store import DirectStore, SimulatedStore
from tests.simulation.workload import SHOP, Plan, Turn
from twelvefold.core.events import DEFAULT_OPTIONS, RequestOptions, WaitStarted
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import IdempotentRequest, NullListener, Principal
from twelvefold.core.thread import Call, fold
from twelvefold.engine.commands import (
    RunRequest,
    answer,
    cancel,
    enqueue_run,
    send_signal,
    settle,
    start_run,
)
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.errors import RequestError, ServiceFault, StaleRun

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

ANN = Principal("ann")
POLL_INTERVAL_S = 1.5
LOOKS = 8
"""After so many checks a process is assumed to have lost a request."""


class Client:
    """Starts the turns of each plan, one after another, and cancels some."""

    def __init__(self, simulation: "Simulation", rng: random.Random) -> None:
        self._simulation = simulation
        self.name = "client"
        self.loop = VirtualLoop(simulation.timeline, self)
        self._left = len(simulation.plans)
        self._services = services_for(simulation, rng, self.loop)

    @property
    def is_done(self) -> bool:
        """Whether all turns have been started."""
        return not self._left

    def start(self) -> None:
        for plan in self._simulation.plans:
            self.loop.create_task(self._carry_out(plan))

    async def _carry_out(self, plan: Plan) -> None:
        await asyncio.sleep(plan.starts_at_s)
        thread: ThreadId | None = None
        for turn in plan.turns:
            run = await self._started(turn, thread)
            thread = run.thread
            if turn.cancel_after_s is not None:
                await asyncio.sleep(turn.cancel_after_s)
                await self._cancel(run)
            while not self._is_over(run):
                await asyncio.sleep(POLL_INTERVAL_S)
        self._left -= 1

    async def _started(self, turn: Turn, thread: ThreadId | None) -> RunId:
        if turn.foreground is not None:
            return await self._started_by(turn.foreground, turn, thread)
        asked = RequestOptions(stream=True) if turn.stream else DEFAULT_OPTIONS
        direct = Services(
            DirectStore(self._simulation.server),
            self._services.model,
            self._services.workflows,
            self._services.ids,
            self._services.limits,
            "1.0",
            monotonic=self.loop.time,
        )
        while True:
            with suppress(ServiceFault):
                run, _ = await enqueue_run(
                    direct,
                    RunRequest(
                        workflow=SHOP.name,
                        principal=ANN,
                        items=[user(turn.name)],
                        thread=thread,
                        options=asked,
                    ),
                )
                self._simulation.started(run, turn)
                return run
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _started_by(self, number: int, turn: Turn, thread: ThreadId | None) -> RunId:
        """Request the run from a process, and from another one if it does not appear."""
        simulation = self._simulation
        simulation.expect(turn)
        for process in cycle(simulation.processes[number:] + simulation.processes[:number]):
            process.run_beside(partial(_start_and_drive, turn, thread))
            for _ in range(LOOKS):
                await asyncio.sleep(POLL_INTERVAL_S)
                if run := simulation.run_of(turn):
                    return run
        raise AssertionError("there are no processes")

    async def _cancel(self, run: RunId) -> None:
        while True:
            try:
                await cancel(self._services, run)
            except ServiceFault:
                await asyncio.sleep(POLL_INTERVAL_S)
            else:
                return

    def _is_over(self, run: RunId) -> bool:
        [(finished,)] = self._simulation.server.look(
            "SELECT finished_at FROM runs WHERE thread_id = ? AND ordinal = ?",
            run.thread,
            run.ordinal,
        )
        return finished is not None


async def _start_and_drive(turn: Turn, thread: ThreadId | None, services: Services) -> None:
    """Drive a run for a caller that waits, as a web process does."""
    with suppress(ServiceFault, RequestError, StaleRun):
        held = await start_run(
            services,
            RunRequest(
                workflow=SHOP.name,
                principal=ANN,
                items=[user(turn.name)],
                thread=thread,
                options=RequestOptions(stream=True) if turn.stream else DEFAULT_OPTIONS,
                key=IdempotentRequest(turn.name, ""),
            ),
        )
        await drive(services, held, NullListener())


class Person:
    """Answers approvals, and settles calls whose outcome is unknown."""

    def __init__(self, simulation: "Simulation", rng: random.Random) -> None:
        self._simulation = simulation
        self.name = "person"
        self._random = rng
        self._heard: set[str] = set()
        self.loop = VirtualLoop(simulation.timeline, self)
        self._services = services_for(simulation, rng, self.loop)

    def start(self) -> None:
        self.loop.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL_S * self._random.uniform(0.5, 1.5))
            for thread, ordinal in self._simulation.server.look(
                "SELECT thread_id, ordinal FROM runs WHERE status = 'waiting'"
                " ORDER BY thread_id, ordinal"
            ):
                try:
                    await self._say(RunId(ThreadId(thread), ordinal))
                except (ServiceFault, RequestError, StaleRun):
                    continue  # next time

    async def _say(self, run: RunId) -> None:
        direct = DirectStore(self._simulation.server)
        thread = fold(run_now(direct.load(run.thread)).entries)
        for call in thread.pending:
            if isinstance(call.wait, WaitStarted) and call.wait.event:
                await self._send(call.wait.event)
        if not thread.waits:
            return
        call = thread.next_calls[0]
        if call.state == "asked":
            approved = self._random.random() < 0.8
            await answer(self._services, run, approved=approved, by="bob", call=call.id)
        else:
            await self._settle(run, call)

    def hear(self, thread: str) -> None:
        """Send the event that a run has just begun to wait for, perhaps before it rests."""
        rows = self._simulation.server.look(
            "SELECT body FROM events WHERE thread_id = ? AND type = 'WaitStarted'"
            " ORDER BY position DESC LIMIT 1",
            thread,
        )
        for (body,) in rows:
            key = str(json.loads(body).get("event", ""))
            if key and key not in self._heard:
                self._heard.add(key)
                if self._random.random() < 0.9:
                    delay_s = self._random.uniform(0, 0.05)
                    self._simulation.timeline.later(delay_s, self._begin_to_send, key)

    def _begin_to_send(self, key: str) -> None:
        self.loop.create_task(self._send_once(key))

    async def _send_once(self, key: str) -> None:
        with suppress(ServiceFault):  # it is sent again to a run that waits
            await self._send(key)

    async def _send(self, key: str) -> None:
        """Send an event, sometimes twice at once; a delivery whose answer was lost is repeated."""
        deliveries = [
            send_signal(self._services, key, workflow=SHOP.name, principal=ANN.id, sender=self.name)
            for _ in range(self._random.choice([1, 2]))
        ]
        await asyncio.gather(*deliveries)

    async def _settle(self, run: RunId, call: Call) -> None:
        outside, item = self._simulation.outside, call.wire_id.removeprefix("call_")
        if outside.starts[item]:
            # Before it is said: the answer may be lost, and the call be tried again.
            settled, result = "done", f"done {item}"
        elif self._random.random() < 0.5:
            settled, result = "retry", ""
        else:
            settled, result = "failed", "it did not happen"
        await settle(
            self._services,
            run,
            settled=settled,  # type: ignore[arg-type]
            by="bob",
            result=result,
            call=call.id,
        )


def services_for(simulation: "Simulation", rng: random.Random, loop: VirtualLoop) -> Services:
    """Return a process that has the server's faults and none of its own."""
    network = Network(simulation.server, simulation.timeline, rng=rng)
    store = SimulatedStore(network)
    return Services(
        store,
        simulation.model,
        {SHOP.name: SHOP},
        simulation.ids,
        simulation.limits,
        "1.0",
        monotonic=loop.time,
    )
