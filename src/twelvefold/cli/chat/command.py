"""`twelvefold chat`: a conversation with a workflow, on a terminal or through a pipe."""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.app.opening import open_checked_services
from twelvefold.cli.attachments import file_part, image_part, part_label
from twelvefold.cli.chat.screen import Screen, open_screen
from twelvefold.cli.chat.session import ChatSession
from twelvefold.cli.command import (
    DONE,
    FAILED,
    TRY_AGAIN,
    configure,
    describe_error,
    run_async,
)
from twelvefold.cli.output import abbreviate, print_notice
from twelvefold.cli.run import default_workflow, find_principal, options_for
from twelvefold.config import Settings, masked
from twelvefold.core import DEFAULT_MODEL, Item, Principal, Workflow, models_of, parse_thread_id
from twelvefold.engine import ExitLimit
from twelvefold.errors import RequestError, TwelvefoldError
from twelvefold.observe.escape import escape

HELP = """\
/new     start a new conversation
/thread  show the id of this conversation
/cancel  cancel an unfinished turn
/image FILE_OR_URL, /file FILE_OR_URL  attach to the next message
/quit    exit, as Ctrl-D does
Ctrl-C cancels the current turn and keeps the conversation.
"""
PROMPT = "> "


def chat(
    environ: Mapping[str, str],
    *,
    workflow: str | None,
    model: str | None,
    thread: str | None,
    principal: str | None,
    sample: bool,
    keeps_history: bool = True,
) -> int:
    """Chat with a workflow until the input ends."""
    screen = open_screen(environ, keeps_history=keeps_history and not sample)
    limit = ExitLimit()
    if sample:
        settings = configure(environ, level="warning")
        work = _play_sample(settings, screen, limit)
        return run_async(work, grace_s=settings.grace_s, limit=limit)
    settings = configure(environ, level="error" if screen.interactive else None)
    work = _chat(settings, screen, limit, workflow, model, thread, principal)
    return run_async(work, grace_s=settings.grace_s, limit=limit)


async def _chat(
    settings: Settings,
    screen: Screen,
    limit: ExitLimit,
    workflow: str | None,
    model: str | None,
    thread: str | None,
    given: str | None,
) -> int:
    thread_id = parse_thread_id(thread) if thread else None
    async with open_checked_services(settings, limit=limit) as services:
        name = workflow or default_workflow(services)
        if name not in services.workflows:
            raise RequestError(f"no workflow {name!r}; there are {', '.join(services.workflows)}")
        principal = await find_principal(services, given, thread_id)
        chat = _Chat(screen, ChatSession(services, screen, name, principal, model))
        if screen.interactive:
            screen.write(_welcome(settings, services.workflows[name], model), "dim")
        try:
            if thread_id:
                await chat.session.open(thread_id)
            return await chat.read_lines()
        except asyncio.CancelledError:
            return chat.stop()
        except Exception:
            chat.stop()
            raise


def _welcome(settings: Settings, workflow: Workflow, chosen: str | None) -> str:
    names = models_of(workflow.model, options_for(chosen))
    models = ", ".join(_model_name(settings, name) for name in names)
    return f"{workflow.name} · {models} · {masked(settings.database_url)} · /help\n"


def _model_name(settings: Settings, name: str) -> str:
    if name != DEFAULT_MODEL:
        return name
    if settings.model_base_url:
        return settings.openai_model
    return "the demo model (OPENAI_API_KEY is not set)"


class _Chat:
    """Handles lines of input: each is a turn of `session` or a command."""

    def __init__(self, screen: Screen, session: ChatSession) -> None:
        self._screen = screen
        self.session = session
        self._status = DONE
        self._attached: list[Item] = []

    async def read_lines(self) -> int:
        """Handle lines until the input ends. Return the exit status of the last turn of a pipe."""
        if self.session.unfinished:
            await self._handle("")
        while True:
            try:
                line = await self._screen.ask(PROMPT, is_message=True)
            except KeyboardInterrupt:
                continue
            if line is None or line.strip() in ("/quit", "/exit"):
                return self._finish()
            await self._handle(line.strip())
            if self._screen.interactive:
                self._screen.write("\n")

    async def _handle(self, line: str) -> None:
        """Handle one line; print an error and continue."""
        try:
            await self._handle_or_raise(line)
        except TwelvefoldError as error:
            self._status, messages = describe_error(error)
            for message in messages:
                self._screen.write(f"({escape(message)})\n", "bad")

    async def _handle_or_raise(self, line: str) -> None:
        unfinished = self.session.unfinished
        if line.startswith("/"):
            await self._run_command(line)
        elif unfinished and not line:
            self._status = await self.session.resume(unfinished)
        elif unfinished:
            hint = "(the last turn is not finished: Enter continues it, /cancel cancels it)\n"
            self._screen.write(hint, "bad")
        elif line:
            # A refused message loses them: the reason may be one of them.
            parts, self._attached = self._attached, []
            self._status = await self.session.send(line, parts)

    async def _run_command(self, line: str) -> None:
        match line.split(maxsplit=1):
            case ["/image" | "/file" as word, source]:
                self._attached.append((image_part if word == "/image" else file_part)(source))
                label = part_label(self._attached[-1])
                self._screen.write(f"({label} is sent with the next message)\n", "dim")
            case ["/new"]:
                self.session, self._attached = self.session.new_session(), []
                self._screen.write("(new conversation)\n", "dim")
            case ["/thread"]:
                thread = self.session.thread
                self._screen.write(f"(conv_{thread})\n" if thread else "(no messages yet)\n", "dim")
            case ["/cancel"] if self.session.unfinished:
                await self.session.cancel(self.session.unfinished)
            case ["/cancel"]:
                self._screen.write("(no unfinished turn)\n", "dim")
            case ["/help"]:
                self._screen.write(HELP, "dim")
            case [word, *_]:
                self._screen.write(f"(unknown command {abbreviate(word, 40)})\n{HELP}", "dim")

    def _finish(self) -> int:
        if self.session.thread:
            print_notice(f"continue with: twelvefold chat --thread conv_{self.session.thread}")
        return DONE if self._screen.interactive and not self.session.unfinished else self._status

    def stop(self) -> int:
        """Print how to continue after the current run was released; return the exit status."""
        if not self.session.unfinished:
            return self._finish()
        print_notice(f"stopped; continue with: twelvefold chat --thread conv_{self.session.thread}")
        return TRY_AGAIN


async def _play_sample(settings: Settings, screen: Screen, limit: ExitLimit) -> int:
    from twelvefold.workflows.enrolment.sample import LINES, changed_rows
    from twelvefold.workflows.enrolment.workflow import workflow

    async with open_checked_services(settings, limit=limit) as services:
        if workflow.name not in services.workflows:
            raise RequestError(
                f"the sample needs workflow {workflow.name!r}, which is not in WORKFLOWS"
            )
        # A new principal, so that the sample starts the same each time.
        student = Principal(f"sample-{secrets.token_hex(4)}")
        session = ChatSession(services, screen, workflow.name, student)
        for line in LINES:
            screen.write(f"\n{PROMPT}{line}\n", "bold")
            if status := await session.send(line):
                return status
        if session.thread is None:
            return FAILED
        async with services.store.read() as db:
            rows_by_table = await changed_rows(db, student, session.thread)
    _show_rows(screen, rows_by_table)
    return DONE


def _show_rows(screen: Screen, rows_by_table: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    for table, rows in rows_by_table.items():
        screen.write(f"\n{table}: {len(rows)} rows changed\n", "bold")
        for row in rows:
            screen.write(f"  {abbreviate(json.dumps(row, default=str))}\n", "dim")
