"""`twelvefold chat`: a conversation with a workflow, at a terminal or through a pipe."""

import asyncio
import json
import secrets
from collections.abc import Mapping

from twelvefold.cli.chat.screen import Screen, open_screen
from twelvefold.cli.chat.session import ChatSession
from twelvefold.cli.command import (
    DONE,
    FAILED,
    TRY_AGAIN,
    begin,
    complaint,
    ready_services,
    run_async,
)
from twelvefold.cli.output import shortened, tell
from twelvefold.cli.run import default_workflow
from twelvefold.config import Settings
from twelvefold.config.parse import masked
from twelvefold.core.ids import parse_thread_id
from twelvefold.core.ports import Principal
from twelvefold.engine.services import Services
from twelvefold.engine.shield import ExitLimit
from twelvefold.errors import RequestError, TwelvefoldError
from twelvefold.observe.escape import escape

HELP = """\
/new     begin another conversation
/thread  show this conversation's id
/cancel  end a turn that is not over
/quit    leave, as Ctrl-D does
Ctrl-C stops the turn under way and keeps the conversation.
"""
PROMPT = "> "


def chat(
    environ: Mapping[str, str],
    *,
    workflow: str | None,
    thread: str | None,
    principal: str,
    sample: bool,
) -> int:
    """Talk with a workflow until the input ends."""
    screen, limit = open_screen(environ), ExitLimit()
    if sample:
        settings = begin(environ, level="warning")
        playing = _play_sample(settings, screen, limit)
        return run_async(playing, grace_s=settings.grace_s, limit=limit)
    settings = begin(environ, level="error" if screen.interactive else None)
    talking = _chat(settings, screen, limit, workflow, thread, Principal(principal))
    return run_async(talking, grace_s=settings.grace_s, limit=limit)


async def _chat(
    settings: Settings,
    screen: Screen,
    limit: ExitLimit,
    workflow: str | None,
    thread: str | None,
    principal: Principal,
) -> int:
    async with ready_services(settings, limit=limit) as services:
        name = workflow or default_workflow(services)
        if name not in services.workflows:
            raise RequestError(f"no workflow {name!r}; there are {', '.join(services.workflows)}")
        chat = _Chat(services, screen, ChatSession(services, screen, name, principal))
        if screen.interactive:
            screen.write(_welcome(settings, name), "dim")
        try:
            if thread:
                await chat.talk.open(parse_thread_id(thread))
            return await chat.lines()
        except asyncio.CancelledError:
            return chat.stopped()
        except Exception:
            chat.stopped()
            raise


def _welcome(settings: Settings, workflow: str) -> str:
    model = (
        settings.openai_model
        if settings.model_base_url
        else "the demo model (OPENAI_API_KEY is not set)"
    )
    return f"{workflow} · {model} · {masked(settings.database_url)} · /help\n"


class _Chat:
    """Lines of input, each a turn or a command; `talk` is the conversation they are about."""

    def __init__(self, services: Services, screen: Screen, talk: ChatSession) -> None:
        self._services = services
        self._screen = screen
        self.talk = talk
        self._status = DONE

    async def lines(self) -> int:
        """Until the input ends; returns the last turn's exit status, where nobody watched."""
        if self.talk.unfinished:
            await self._try("")
        while True:
            try:
                line = await self._screen.ask(PROMPT)
            except KeyboardInterrupt:
                continue
            if line is None or line.strip() in ("/quit", "/exit"):
                return self._left()
            await self._try(line.strip())
            if self._screen.interactive:
                self._screen.write("\n")

    async def _try(self, line: str) -> None:
        """One line; what goes wrong is told, and the conversation goes on."""
        try:
            await self._do(line)
        except TwelvefoldError as error:
            self._status, sentences = complaint(error)
            for sentence in sentences:
                self._screen.write(f"({escape(sentence)})\n", "bad")

    async def _do(self, line: str) -> None:
        unfinished = self.talk.unfinished
        if line.startswith("/"):
            await self._command(line)
        elif unfinished and not line:
            self._status = await self.talk.resume(unfinished)
        elif unfinished:
            self._screen.write(
                "(the last turn is not over: Enter goes on with it, /cancel ends it)\n", "bad"
            )
        elif line:
            self._status = await self.talk.say(line)

    async def _command(self, line: str) -> None:
        match line.split():
            case ["/new"]:
                self.talk = self.talk.anew()
                self._screen.write("(a new conversation)\n", "dim")
            case ["/thread"]:
                known = self.talk.thread
                self._screen.write(
                    f"(conv_{known})\n" if known else "(nothing was said yet)\n", "dim"
                )
            case ["/cancel"] if self.talk.unfinished:
                await self.talk.give_up(self.talk.unfinished)
            case ["/cancel"]:
                self._screen.write("(no turn is under way)\n", "dim")
            case ["/help"]:
                self._screen.write(HELP, "dim")
            case [word, *_]:
                self._screen.write(f"(there is no {shortened(word, 40)})\n{HELP}", "dim")

    def _left(self) -> int:
        if self.talk.thread:
            tell(f"go on with: twelvefold chat --thread conv_{self.talk.thread}")
        return DONE if self._screen.interactive and not self.talk.unfinished else self._status

    def stopped(self) -> int:
        """The process is to end; the run under way has been given back."""
        if not self.talk.unfinished:
            return self._left()
        tell(f"stopped; go on with: twelvefold chat --thread conv_{self.talk.thread}")
        return TRY_AGAIN


async def _play_sample(settings: Settings, screen: Screen, limit: ExitLimit) -> int:
    from twelvefold.workflows.enrolment.sample import LINES, changed_rows
    from twelvefold.workflows.enrolment.workflow import workflow

    async with ready_services(settings, limit=limit) as services:
        if workflow.name not in services.workflows:
            raise RequestError(
                f"the sample is of workflow {workflow.name!r}, which WORKFLOWS leaves out"
            )
        # Somebody new each time, so that every play begins alike.
        student = Principal(f"sample-{secrets.token_hex(4)}")
        talk = ChatSession(services, screen, workflow.name, student)
        for line in LINES:
            screen.write(f"\n{PROMPT}{line}\n", "bold")
            if status := await talk.say(line):
                return status
        if talk.thread is None:
            return FAILED
        async with services.store.read() as db:
            rows_by_table = await changed_rows(db, student, talk.thread)
    for table, rows in rows_by_table.items():
        screen.write(f"\n{table}: {len(rows)} rows changed\n", "bold")
        for row in rows:
            screen.write(f"  {shortened(json.dumps(row, default=str))}\n", "dim")
    return DONE
