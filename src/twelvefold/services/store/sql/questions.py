"""Questions of tools that wait for a person's answer, in SQL."""

from contextlib import suppress
from typing import cast

from twelvefold.core import (
    CallId,
    OpenQuestion,
    Row,
    RunId,
    RunStatus,
    ThreadId,
    WaitStarted,
    decode,
    position_of,
)
from twelvefold.errors import DuplicateRow, NotFound
from twelvefold.services.store.questions import question_values
from twelvefold.services.store.sql.base import Database

_AFTER_ALL = 2**62, "~", ""
_BEFORE_ALL = 0, "", ""
_IN_PROGRESS: tuple[RunStatus, ...] = ("waiting", "queued", "running")


class Questions(Database):
    """Implements `twelvefold.core.ports.QuestionStore`."""

    async def questions(
        self,
        person: str,
        *,
        limit: int,
        after: tuple[ThreadId, CallId] | None = None,
        newest_first: bool = True,
    ) -> list[OpenQuestion]:
        start = _AFTER_ALL if newest_first else _BEFORE_ALL
        at, thread, call = (await self._asked_us(person, *after), *after) if after else start
        name = "open_questions" if newest_first else "open_questions_upwards"
        place = {"at": at, "thread": thread, "call": call}
        rows = await self._fetch(name, person=person, limit=limit, **place)
        # The server ignores spaces at the end when it compares texts.
        return [_question(row) for row in rows if row["person"] == person]

    async def _asked_us(self, person: str, thread: ThreadId, call: CallId) -> int:
        values = {"thread": thread, "reply": position_of(call), "prefix": f'{{"call":"{call}",%'}
        for row in await self._fetch("asked_question", **values):
            wait = _wait(row)
            if wait.question and person == (wait.person or row["principal"]):
                return int(row["at_us"])
        raise NotFound(f"no question {call} of thread conv_{thread} for {person}")

    async def add_missing_questions(self, *, limit: int) -> int:
        for status in _IN_PROGRESS:
            if rows := await self._fetch("unlisted_questions", status=status, limit=limit):
                for row in rows:
                    await self._add_missing(row)
                return len(rows)
        return 0

    async def _add_missing(self, row: Row) -> None:
        wait, run = _wait(row), RunId(ThreadId(row["thread_id"]), row["run"])
        place = row["position"], row["at_us"]
        values = question_values(run, wait, row["workflow"], row["principal"], *place)
        with suppress(DuplicateRow):  # another process has just added it
            await self._execute("add_question", **values)


def _question(row: Row) -> OpenQuestion:
    run = RunId(ThreadId(row["thread_id"]), row["ordinal"])
    about = row["person"], row["workflow"], row["asked_at"]
    return OpenQuestion(run, CallId(row["call_id"]), *about, _wait(row))


def _wait(row: Row) -> WaitStarted:
    return cast("WaitStarted", decode(row["type"], row["version"], row["body"]))
