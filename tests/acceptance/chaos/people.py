"""The people of a scene: one approves calls over HTTP, one settles unknown outcomes.

The second looks at the counter first, as a person would look at the telephone bill.
"""

import asyncio
import sys
import time
from collections import Counter as Tally
from dataclasses import dataclass, field

import aiohttp

from tests.acceptance.chaos.arena import Arena
from tests.acceptance.chaos.journal import JournalLine, ticket_of
from tests.acceptance.chaos.terms import LEASE_S
from tests.acceptance.crash import ENTRY_POINT

POLL_INTERVAL_S = 0.2
REQUEST_S = 20.0
LOOK_AFTER_S = 2 * LEASE_S
"""A call that a process is still about comes to its end first, or is counted by then."""
WAITING = (
    "select e.thread_id, e.position, e.type, e.body, e.at_us from runs r"
    " join threads t on t.id = r.thread_id"
    " join events e on e.thread_id = t.id and e.position = t.head where r.status = 'waiting'"
)


@dataclass
class People:
    """`settled` counts what was said of unknown outcomes."""

    arena: Arena
    settled: Tally[str] = field(default_factory=Tally)
    _busy: set[tuple[str, int]] = field(default_factory=set)
    _commands: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def work(self) -> None:
        """Answer whatever waits, again and again; what fails is answered at the next look."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            while True:
                for row in await self.arena.admin.rows(WAITING):
                    line = JournalLine.of(row)
                    if (key := (line.thread, line.position)) in self._busy:
                        continue
                    self._busy.add(key)
                    group.create_task(self._answer(session, line))
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _answer(self, session: aiohttp.ClientSession, line: JournalLine) -> None:
        try:
            if line.type == "ApprovalAsked":
                await self._approve(session, line)
            elif line.type == "OutcomeUnknown":
                await self._settle(line)
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(1)
        finally:
            self._busy.discard((line.thread, line.position))

    async def _approve(self, session: aiohttp.ClientSession, line: JournalLine) -> None:
        assert self.arena.web is not None
        answer = {"type": "mcp_approval_response", "approve": True}
        answer["approval_request_id"] = f"mcpr_{line.thread}{line.body['call']}"
        body = {"model": "chaos", "background": True, "input": [answer]}
        limit = aiohttp.ClientTimeout(REQUEST_S)
        url = f"{self.arena.web.url}/responses"
        async with session.post(url, json=body, timeout=limit) as response:
            if response.status >= 500:
                await asyncio.sleep(0.5)

    async def _settle(self, line: JournalLine) -> None:
        age_s = time.time_ns() / 1e9 - line.at_us / 1e6
        await asyncio.sleep(max(0.0, LOOK_AFTER_S - age_s))
        entries = await self.arena.admin.rows(
            "select thread_id, position, type, body, at_us from events where thread_id = %s"
            " order by position",
            line.thread,
        )
        ticket = ticket_of([JournalLine.of(row) for row in entries], line.body["call"])
        word = "done" if self.arena.counter.starts_of(ticket) else "retry"
        typed = ["runs", "settle", f"resp_{line.thread}1", "--call", line.body["call"]]
        typed += [f"--{word}", "--result", f"{ticket} was looked up", "--detach"]
        if await self._run_command(typed) == 0:
            self.settled[word] += 1

    async def _run_command(self, typed: list[str]) -> int:
        async with self._commands:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ENTRY_POINT, *typed),
                env=self.arena.environment(self.arena.app_url()),
                cwd=self.arena.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
