"""`twelvefold runs follow`: show a run while another process drives it."""

import asyncio
import sys

from twelvefold.app.texts import messages_text
from twelvefold.backoff import Backoff
from twelvefold.cli.command import DONE, FAILED, CommandContext, command, has_colour
from twelvefold.cli.family import write_entry
from twelvefold.cli.output import Write, check_reader, print_notice, stdout_writer
from twelvefold.cli.run_list import find_run
from twelvefold.cli.transcript import Transcript, waiting_text
from twelvefold.core import Delta, Entry, ModelReplied, RunFinished, RunId, RunStarted, fold
from twelvefold.engine import Services
from twelvefold.engine.waiting_calls import waiting_calls
from twelvefold.errors import StoreUnavailable

POLL_INTERVAL_S = 0.2
_BACKOFF = Backoff(first_s=0.5, longest_s=5.0)


@command()
async def follow(context: CommandContext, *, run_id: str) -> int:
    """Write a run as it proceeds, until it has ended."""
    run = await find_run(context.services.store, run_id)
    write = stdout_writer(colour=has_colour(sys.stdout, context.environ))
    follower = Follower(context.services, run, write)
    failures = 0
    try:
        while follower.status is None:
            try:
                await follower.read()
                failures = 0
            except StoreUnavailable as error:
                failures += 1
                if failures == 1:
                    follower.transcript.end_line()
                    print_notice(f"{error}; trying again")
            check_reader()
            await asyncio.sleep(_BACKOFF.pause_s(failures) if failures else POLL_INTERVAL_S)
    finally:
        follower.transcript.end_line()
    return DONE if follower.status == "completed" else FAILED


class Follower:
    """Writes what is new in the journal of a run. `status` is that of the run once it has ended."""

    def __init__(self, services: Services, run: RunId, write: Write) -> None:
        self.status: str | None = None
        self.transcript = Transcript(write)
        self._services = services
        self._run = run
        self._write = write
        self._position = 0
        self._deltas_after = (0, 0)
        self._has_started = False
        self._text = ""
        self._announced_at = 0

    async def read(self) -> None:
        """Write the new entries and pieces of text. Raises NotFound if the run was removed."""
        store = self._services.store
        record = await store.run(self._run)
        found = await store.follow(
            self._run.thread, after=self._position, deltas_after=self._deltas_after
        )
        deltas = list(found.deltas)
        for entry in found.entries:
            while deltas and deltas[0].position <= entry.position:
                self._write_delta(deltas.pop(0))
            self._position = entry.position
            if entry.run == self._run.ordinal and self.status is None:
                await self._write_entry(entry)
        for delta in deltas:
            self._write_delta(delta)
        if record.status == "waiting" and self._announced_at < self._position:
            await self._announce_wait()

    def _write_delta(self, delta: Delta) -> None:
        self._deltas_after = (delta.position, delta.number)
        if not self._has_started or self.status is not None:
            return
        if delta.kind == "restarted":
            self._text = ""
            self.transcript.restarted("the connection to the model was lost")
        else:
            self._text += delta.text
            self.transcript.text(delta.text)

    async def _write_entry(self, entry: Entry) -> None:
        event = entry.event
        self._has_started |= isinstance(event, RunStarted)
        if isinstance(event, ModelReplied) and self._text:
            self._complete_text(messages_text(event.items))
        await write_entry(self._services.store, entry, self.transcript, self._write)
        if isinstance(event, RunFinished):
            self.status = event.status

    def _complete_text(self, text: str) -> None:
        """Write the rest of a reply, of which some pieces may not have been read in time."""
        if text.startswith(self._text):
            self.transcript.text(text[len(self._text) :])
        else:
            self.transcript.restarted("the reply is another one")
        self._text = ""

    async def _announce_wait(self) -> None:
        self._announced_at = self._position
        thread = fold((await self._services.store.load(self._run.thread)).entries)
        if thread.rests and thread.run == self._run.ordinal:
            below = await waiting_calls(self._services, self._run, thread)
            print_notice(waiting_text(thread, self._run, below))
