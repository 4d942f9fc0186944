"""A counter outside the database: it records every start of an unsafe or keyed call.

At each start it reads from the database whether the caller still holds the run's lease.
All processes and the server read the clock of the same machine, so their times can be compared.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from tests.acceptance.chaos.admin import Admin
from tests.acceptance.chaos.plan import thread_of

ANSWER_S = 2.0
"""How long a caller waits for the check of its lease, at most."""
LEASE = "select status, lease_token, lease_until, finished_at from runs where thread_id = %s"


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a call. `without` says why the caller had no lease; "" if it had one."""

    ticket: str
    key: str
    pid: int
    began_us: int
    monotonic_s: float
    token: str
    without: str = ""


class LeaseNote(msgspec.Struct, frozen=True):
    """A line of the workers' notes: a lease that was taken, or given back in doubt.

    `done_us` is when the database responded; 0 for one that is given back.
    """

    what: str
    thread: str
    token: str
    sent_us: int
    pid: int
    done_us: int = 0


class Counter:
    """Listens at `socket`; keeps what it counted in memory and in `log`.

    `outage_us` is when the server ended, if it is down now: no lease can have been renewed since.
    """

    def __init__(self, admin: Admin, directory: Path, lease_s: float) -> None:
        self.socket = directory / "counter.sock"
        self.notes = directory / "leases.jsonl"
        self.starts: list[Start] = []
        self.outage_us: int | None = None
        self._log = directory / "counter.jsonl"
        self._admin = admin
        self._lease_us = int(lease_s * 1_000_000)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Counter"]:
        self.notes.touch()
        server = await asyncio.start_unix_server(self._connected, self.socket, backlog=1024)
        try:
            yield self
        finally:
            server.close()

    def starts_of(self, ticket: str) -> list[Start]:
        return [start for start in self.starts if start.ticket == ticket]

    def starts_by_ticket(self) -> dict[str, list[Start]]:
        found: dict[str, list[Start]] = defaultdict(list)
        for start in self.starts:
            found[start.ticket].append(start)
        return found

    def lease_notes(self) -> list[LeaseNote]:
        """What the workers noted of leases. The last line may still be being written."""
        lines = self.notes.read_text().splitlines()
        whole = (line for line in lines if line.endswith("}"))
        return [msgspec.json.decode(line, type=LeaseNote) for line in whole]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            start = Start(**json.loads(await reader.readline()))
            at = len(self.starts)
            self.starts.append(start)  # before anything else: the call has begun
            self.starts[at] = start = replace(start, without=await self._without_lease(start))
            with self._log.open("a") as log:
                log.write(json.dumps(asdict(start)) + "\n")
            writer.write(b"counted\n")
            await writer.drain()
        writer.close()

    async def _without_lease(self, start: Start) -> str:
        outage_us = self.outage_us
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await self._admin.rows(LEASE, thread_of(start.ticket))
        except TimeoutError:
            # Nobody can ask: but no lease outlives the server's end by more than its length.
            late = outage_us is not None and start.began_us > outage_us + self._lease_us
            return "the lease ran out while the server was away" if late else ""
        if not found:
            return "there is no such run"
        (run,) = found
        if run["lease_token"] == start.token:
            late_us = start.began_us - run["lease_until"]
            return f"the lease had run out {late_us / 1e6:.3f} s before" if late_us >= 0 else ""
        if run["finished_at"] is not None and run["finished_at"] < start.began_us:
            return "the run was over"
        return self._taken_over(start)

    def _taken_over(self, start: Start) -> str:
        """Why another token is in place; a claim that was sent later than the start is no fault.

        A claim succeeds only where the lease ran out before it was sent.
        """
        thread = thread_of(start.ticket)
        claims = [
            note for note in self.lease_notes() if note.what == "claimed" and note.thread == thread
        ]
        later = [
            note
            for note in claims
            if note.token != start.token and not _is_before(note, start, claims)
        ]
        earlier = [note for note in later if note.sent_us < start.began_us]
        if not earlier:
            return ""
        late_s = (start.began_us - earlier[0].sent_us) / 1e6
        return f"process {earlier[0].pid} had taken the run over {late_s:.3f} s before"


def _is_before(note: LeaseNote, start: Start, claims: list[LeaseNote]) -> bool:
    """Whether a claim came before the one that the caller holds."""
    own = [claim.sent_us for claim in claims if claim.token == start.token]
    return bool(own) and note.sent_us < own[0]
