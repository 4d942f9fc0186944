"""A conversation with a workflow, turn by turn. Asks for approvals and outcomes on the screen."""

import asyncio
from collections.abc import Sequence

from twelvefold.app.texts import messages_text
from twelvefold.cli.chat.screen import Screen
from twelvefold.cli.command import DONE
from twelvefold.cli.run import exit_status, options_for, user_message
from twelvefold.cli.signals import STOPPING_NOTICE, interruptible
from twelvefold.cli.transcript import Transcript, call_text, question_text, waiting_text
from twelvefold.core import (
    Call,
    Item,
    Principal,
    RunId,
    RunStarted,
    Settlement,
    ThreadId,
    WaitStarted,
    fold,
)
from twelvefold.core.answers import parse_answer, question_of
from twelvefold.engine import (
    HeldRun,
    Outcome,
    RunRequest,
    Services,
    answer,
    answer_question,
    cancel,
    settle,
    start_run,
    take,
)
from twelvefold.engine.family import drive_family
from twelvefold.engine.waiting_calls import waiting_calls
from twelvefold.errors import Conflict, InvalidAnswer, NotFound, RequestError
from twelvefold.observe.escape import escape

SETTLEMENTS: dict[str, Settlement] = {"done": "done", "retry": "retry", "failed": "failed"}
RECAP_ENTRIES = 12
"""Journal entries that are shown when a conversation is continued."""


class ChatSession:
    """One thread, or none before the first message. `unfinished` is a run that can be resumed.

    `model` is one of the workflow's `models`, None for its own.
    """

    def __init__(
        self,
        services: Services,
        screen: Screen,
        workflow: str,
        principal: Principal,
        model: str | None = None,
    ) -> None:
        self._services = services
        self._screen = screen
        self._principal = principal
        self._model = model
        self.workflow = workflow
        self.thread: ThreadId | None = None
        self.unfinished: RunId | None = None

    def new_session(self) -> "ChatSession":
        """Return a session without a thread, with the same workflow."""
        return ChatSession(
            self._services, self._screen, self.workflow, self._principal, self._model
        )

    async def open(self, thread: ThreadId) -> None:
        """Continue a thread, and show its last entries. Raises NotFound."""
        record = await self._services.store.load(thread)
        if record.principal != self._principal.id:
            raise NotFound(f"no thread conv_{thread} of {self._principal.id!r}")
        self.thread, self.workflow = thread, record.workflow
        transcript = Transcript(self._screen.write)
        for entry in record.entries[-RECAP_ENTRIES:]:
            transcript.recorded(entry)
        started = [one.event for one in record.entries if isinstance(one.event, RunStarted)]
        self._screen.add_history(messages_text(event.items) for event in started)
        state = fold(record.entries)
        if state.status == "active" and record.head > record.forked_at:
            self.unfinished = RunId(thread, state.run)

    async def send(self, text: str, parts: Sequence[Item] = ()) -> int:
        """Send a user message with images and files, drive its run, and return the exit status."""
        held = await start_run(
            self._services,
            RunRequest(
                workflow=self.workflow,
                principal=self._principal,
                items=[user_message(text, parts)],
                thread=self.thread,
                options=options_for(self._model),
            ),
        )
        self.thread = held.run.thread
        return await self._drive(held)

    async def resume(self, run: RunId) -> int:
        """Drive an unfinished run. Raises Conflict if another process has it."""
        return await self._drive(await take(self._services, run))

    async def cancel(self, run: RunId) -> None:
        """Cancel a run."""
        status = await cancel(self._services, run)
        self.unfinished = None
        self._screen.write(f"({status})\n", "bad")

    async def _drive(self, held: HeldRun) -> int:
        self.unfinished = held.run
        transcript = Transcript(self._screen.write)
        while True:
            outcome = await self._drive_interruptibly(held, transcript)
            if outcome is None:
                transcript.end_line()
                await self.cancel(held.run)
                return DONE
            if outcome.status == "waiting" and await self._ask_person(outcome):
                held = await take(self._services, outcome.run)
                continue
            return await self._show_outcome(outcome)

    async def _drive_interruptibly(self, held: HeldRun, transcript: Transcript) -> Outcome | None:
        """Drive the run until it ends or waits. Return None after Ctrl-C."""
        async with interruptible(self._show_stopping) as interrupted:
            self._screen.show_busy(True)
            try:
                return await drive_family(self._services, held, transcript)
            except asyncio.CancelledError:
                if not interrupted:
                    raise
                return None
            finally:
                self._screen.show_busy(False)

    def _show_stopping(self) -> None:
        self._screen.write(f"({STOPPING_NOTICE})\n", "dim")

    async def _show_outcome(self, outcome: Outcome) -> int:
        if outcome.status in ("queued", "waiting"):
            below = await waiting_calls(self._services, outcome.run, outcome.thread)
            reason = outcome.error or waiting_text(outcome.thread, outcome.run, below)
            self._screen.write(f"({escape(reason)})\n", "bad")
        else:
            self.unfinished = None
        return exit_status(outcome)

    async def _ask_person(self, outcome: Outcome) -> bool:
        """Ask for an answer that the run waits for. Return False if there is none to ask for."""
        found = await waiting_calls(self._services, outcome.run, outcome.thread)
        waiting = [one for one in found if self._may_answer(one.call)]
        if not waiting:
            return False
        run, _, call = waiting[0]
        try:
            if question := question_of(call):
                return await self._ask_question(run, call, question)
            ask = self._ask_approval if call.state == "asked" else self._ask_outcome
            return await ask(run, call)
        except KeyboardInterrupt:
            return False

    def _may_answer(self, call: Call) -> bool:
        """Return whether the person at this chat may answer the call: not another's question."""
        question = question_of(call)
        return question is None or question.person in ("", self._principal.id)

    async def _ask_approval(self, run: RunId, call: Call) -> bool:
        self._screen.write(f"approve {call_text(call)}?\n", "bold")
        prompt = "y, or n and a reason, or edit and other arguments: "
        while (line := await self._screen.ask(prompt)) is not None:
            word, _, rest = line.strip().partition(" ")
            word = word.lower().rstrip(",:")
            if word in ("y", "yes"):
                return await self._answer_approval(run, call, approved=True)
            if word in ("n", "no"):
                return await self._answer_approval(run, call, approved=False, reason=rest.strip())
            if word in ("e", "edit") and rest and await self._edit(run, call, rest.strip()):
                return True
        return False

    async def _edit(self, run: RunId, call: Call, arguments: str) -> bool:
        """Approve the call with other arguments. Return False if its tool does not take them."""
        try:
            return await self._answer_approval(run, call, approved=True, arguments=arguments)
        except Conflict:
            raise
        except RequestError as error:
            self._screen.write(f"({escape(str(error))})\n", "bad")
            return False

    async def _answer_approval(
        self, run: RunId, call: Call, *, approved: bool, reason: str = "", arguments: str = ""
    ) -> bool:
        await answer(
            self._services,
            run,
            approved=approved,
            by=self._principal.id,
            reason=reason,
            call=call.id,
            claims=True,
            arguments=arguments,
        )
        return True

    async def _ask_question(self, run: RunId, call: Call, question: WaitStarted) -> bool:
        self._screen.write(f"{question_text(question)}\n", "bold")
        while (line := await self._screen.ask("answer: ")) is not None:
            value = parse_answer(question.schema, line.strip())
            try:
                await answer_question(
                    self._services,
                    run,
                    value,
                    by=self._principal.id,
                    principal=self._principal.id,
                    call=call.id,
                    claims=True,
                )
            except InvalidAnswer as error:
                self._screen.write(f"({escape(str(error))})\n", "bad")
            else:
                return True
        return False

    async def _ask_outcome(self, run: RunId, call: Call) -> bool:
        self._screen.write(f"what was the outcome of {call_text(call)}?\n", "bold")
        prompt = "done, retry or failed, and a result for the model: "
        while (line := await self._screen.ask(prompt)) is not None:
            word, _, result = line.strip().partition(" ")
            settled = SETTLEMENTS.get(word.lower().rstrip(",:"))
            if settled:
                await settle(
                    self._services,
                    run,
                    settled=settled,
                    by=self._principal.id,
                    result=result.strip(),
                    call=call.id,
                    claims=True,
                )
                return True
        return False
