"""A conversation with a workflow, turn by turn: what a run asks of a person is asked here."""

import asyncio

from twelvefold.cli.chat.screen import Screen
from twelvefold.cli.command import DONE
from twelvefold.cli.output import said
from twelvefold.cli.run import message, status_of
from twelvefold.cli.signals import STOPPING, interruptible
from twelvefold.cli.transcript import Transcript, described, waiting_for
from twelvefold.core.events import RunStarted, Settlement
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Principal
from twelvefold.core.thread import Call, fold
from twelvefold.engine.commands import answer, cancel, settle, start_run, take
from twelvefold.engine.drive import Outcome, drive
from twelvefold.engine.held_run import HeldRun
from twelvefold.engine.services import Services
from twelvefold.errors import NotFound
from twelvefold.observe.escape import escape

SETTLED: dict[str, Settlement] = {"done": "done", "retry": "retry", "failed": "failed"}
SHOWN_ENTRIES = 12
"""So many of the journal's last entries remind of what was said before."""


class ChatSession:
    """One thread, or none yet. `unfinished` is a run of it that can be gone on with."""

    def __init__(
        self, services: Services, screen: Screen, workflow: str, principal: Principal
    ) -> None:
        self._services = services
        self._screen = screen
        self._principal = principal
        self.workflow = workflow
        self.thread: ThreadId | None = None
        self.unfinished: RunId | None = None

    def anew(self) -> "ChatSession":
        """Another conversation with the same workflow."""
        return ChatSession(self._services, self._screen, self.workflow, self._principal)

    async def open(self, thread: ThreadId) -> None:
        """Go on with a thread, whose last words are shown. Raises NotFound."""
        record = await self._services.store.load(thread)
        if record.principal != self._principal.id:
            raise NotFound(f"no thread conv_{thread} of {self._principal.id!r}")
        self.thread, self.workflow = thread, record.workflow
        transcript = Transcript(self._screen.write)
        for entry in record.entries[-SHOWN_ENTRIES:]:
            transcript.recorded(entry)
        started = [one.event for one in record.entries if isinstance(one.event, RunStarted)]
        self._screen.remember(said(event.items) for event in started)
        told = fold(record.entries)
        if told.status == "active" and record.head > record.forked_at:
            self.unfinished = RunId(thread, told.run)

    async def say(self, text: str) -> int:
        """Say something and drive the run that this starts; returns the exit status it means."""
        driven = await start_run(
            self._services,
            workflow=self.workflow,
            principal=self._principal,
            items=[message(text)],
            thread=self.thread,
        )
        self.thread = driven.run.thread
        return await self._go_on(driven)

    async def resume(self, run: RunId) -> int:
        """Take up a run and drive it on. Raises Conflict if another process has it."""
        return await self._go_on(await take(self._services, run))

    async def give_up(self, run: RunId) -> None:
        """End a run as it stands."""
        status = await cancel(self._services, run)
        self.unfinished = None
        self._screen.write(f"({status})\n", "bad")

    async def _go_on(self, driven: HeldRun) -> int:
        self.unfinished = driven.run
        transcript = Transcript(self._screen.write)
        while True:
            outcome = await self._driven(driven, transcript)
            if outcome is None:
                transcript.end_line()
                await self.give_up(driven.run)
                return DONE
            if outcome.status == "waiting" and await self._asked_person(outcome):
                driven = await take(self._services, outcome.run)
                continue
            return self._rested(outcome)

    def _rested(self, outcome: Outcome) -> int:
        if outcome.status in ("queued", "waiting"):
            remark = outcome.error or waiting_for(outcome.thread, outcome.run)
            self._screen.write(f"({escape(remark)})\n", "bad")
        else:
            self.unfinished = None
        return status_of(outcome)

    async def _driven(self, driven: HeldRun, transcript: Transcript) -> Outcome | None:
        """Where the run came to rest; None if Ctrl-C was pressed meanwhile."""
        async with interruptible(self._say_stopping) as interrupted:
            self._screen.busy(True)
            try:
                return await drive(self._services, driven, transcript)
            except asyncio.CancelledError:
                if not interrupted:
                    raise
                return None
            finally:
                self._screen.busy(False)

    def _say_stopping(self) -> None:
        # What has begun in the database is not broken off.
        self._screen.write(f"({STOPPING})\n", "dim")

    async def _asked_person(self, outcome: Outcome) -> bool:
        """Ask what the run waits for; False if nobody answers."""
        call = outcome.thread.pending[0]
        try:
            ask = self._asked_approval if call.state == "asked" else self._asked_outcome
            return await ask(outcome.run, call)
        except KeyboardInterrupt:
            return False

    async def _asked_approval(self, run: RunId, call: Call) -> bool:
        self._screen.write(f"allow {described(call)}?\n", "bold")
        while (line := await self._screen.ask("y, or n and why: ")) is not None:
            word, _, reason = line.strip().partition(" ")
            if word.lower().rstrip(",:") in ("y", "yes", "n", "no"):
                approved = word.lower().startswith("y")
                await answer(
                    self._services,
                    run,
                    approved=approved,
                    by=self._principal.id,
                    reason="" if approved else reason.strip(),
                    call=call.id,
                )
                return True
        return False

    async def _asked_outcome(self, run: RunId, call: Call) -> bool:
        self._screen.write(f"what became of {described(call)}?\n", "bold")
        prompt = "done, retry or failed, and what the model shall read: "
        while (line := await self._screen.ask(prompt)) is not None:
            word, _, result = line.strip().partition(" ")
            settled = SETTLED.get(word.lower().rstrip(",:"))
            if settled:
                await settle(
                    self._services,
                    run,
                    settled=settled,
                    by=self._principal.id,
                    result=result.strip(),
                    call=call.id,
                )
                return True
        return False
