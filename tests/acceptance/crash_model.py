"""A model's server for kills: says what a script says at each place of the conversation.

    python -m tests.acceptance.crash_model

A client's base URL says how it is to be answered: `/<client>/<script>/<hold>/<pace_ms>/v1`. The
reply with the number `hold` stops for ever in the middle of its stream; a whole stream takes
`pace_ms`. The first line of standard output is the port, then there is one a request (`asked`)
and one a stream that was stopped (`held`): the client and the reply's number.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from tests.acceptance.academy import Line
from tests.services.model.streams import FakeReply, responses_events

ROOT = Path(__file__).resolve().parents[2]
Script = Literal["in_turn", "at_once"]
SCRIPTS: Mapping[Script, Sequence[Sequence[str]]] = {
    "in_turn": (("get_course",), ("enrol",), ("send_welcome",)),
    # Replies with several calls: each is committed before the first of its calls is run.
    "at_once": (("get_course", "my_enrolments"), ("enrol", "send_welcome")),
}
"""The tools that each reply calls; a last one says goodbye."""


def journal_of(script: Script) -> list[Line]:
    """What one whole run of the script leaves in the journal."""
    lines: list[Line] = [("RunStarted", "")]
    for tools in SCRIPTS[script]:
        lines += [("ModelReplied", ""), *(("ToolSucceeded", tool) for tool in tools)]
    return [*lines, ("ModelReplied", ""), ("RunFinished", "")]


@dataclass(frozen=True, slots=True)
class Client:
    """How one client is to be answered, as its base URL says."""

    name: str
    script: Script = "in_turn"
    hold: int = 0
    pace_ms: int = 0

    @property
    def path(self) -> str:
        return f"/{self.name}/{self.script}/{self.hold}/{self.pace_ms}/v1"


class CrashModel:
    """The server, seen from the process that started it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self._port = port
        self._signals: dict[tuple[str, str], asyncio.Event] = {}

    def base_url(self, client: Client) -> str:
        return f"http://127.0.0.1:{self._port}{client.path}"

    async def wait_for(self, what: Literal["asked", "held"], client: Client) -> None:
        """Until the client has asked for a reply, or until one of its replies was stopped."""
        await self._signal(what, client.name).wait()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            what, name, _ = line.decode().split()
            self._signal(what, name).set()

    def _signal(self, what: str, name: str) -> asyncio.Event:
        return self._signals.setdefault((what, name), asyncio.Event())


@asynccontextmanager
async def crash_model() -> AsyncIterator[CrashModel]:
    """The server in a process of its own, which ends with the body."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.acceptance.crash_model"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        model = CrashModel(process, int(await process.stdout.readline()))
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(model.listen())
            yield model
            listening.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    place = request.match_info
    said, number = reply(asked["input"], _script(place["script"]))
    print("asked", place["client"], number, flush=True)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    events = responses_events(said)
    with suppress(ConnectionError):  # a client that is killed says no goodbye
        await response.prepare(request)
        for sent, event in enumerate(events):
            if number == int(place["hold"]) and sent == len(events) // 2:
                print("held", place["client"], number, flush=True)
                await asyncio.sleep(3600)
            await response.write(event)
            await asyncio.sleep(int(place["pace_ms"]) / len(events) / 1000)
    return response


def _script(name: str) -> Script:
    return "at_once" if name == "at_once" else "in_turn"


def reply(items: Sequence[Mapping[str, Any]], script: Script) -> tuple[FakeReply, int]:
    """What is said after these items, and which reply of the turn that is, from 1."""
    users = [at for at, item in enumerate(items) if item.get("role") == "user"]
    course = re.search(r"CR-\d+", json.dumps(items[users[-1]]))
    outputs = sum(item.get("type") == "function_call_output" for item in items[users[-1] :])
    for number, tools in enumerate(SCRIPTS[script], start=1):
        if outputs <= 0 and course:
            return FakeReply(calls=[_call(number, tool, course[0]) for tool in tools]), number
        outputs -= len(tools)
    return FakeReply("You are enrolled, and a mail is on its way."), len(SCRIPTS[script]) + 1


def _call(number: int, tool: str, course: str) -> tuple[str, str, str]:
    arguments = {} if tool == "my_enrolments" else {"course_code": course}
    return f"call_{number}_{tool}", tool, json.dumps(arguments)


async def _serve() -> None:
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/{client}/{script}/{hold}/{pace_ms}/v1/responses", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
