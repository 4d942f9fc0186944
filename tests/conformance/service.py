"""The service that the clients use: processes on one MariaDB, and a model that takes its time.

Each student has a key, so that what one client does is told apart from what the others do.
"""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.academy import Place, academy
from tests.acceptance.page.slow_model import slow_model
from tests.acceptance.webs import Web, webs
from tests.conformance.refunds import workflow as refunds
from twelvefold.core.events import Item
from twelvefold.core.ports import SCOPES, Store
from twelvefold.engine.keys import create_key
from twelvefold.services.model.demo import rules
from twelvefold.services.model.items import function_call, message, text_of
from twelvefold.services.store import open_store

WORKFLOWS = "twelvefold.workflows.enrolment.workflow:workflow,tests.conformance.refunds:workflow"
SCRIPT_S = 100


@dataclass(frozen=True)
class Service:
    """Its processes, their database, and a directory for the clients.

    `a` and `b` are alike, `plain` shows its tools as function calls. `demo` is as it comes: the
    built-in demo model answers; it leaves the others' background runs to them.
    """

    a: Web
    b: Web
    plain: Web
    demo: Web
    store: Store
    home: Path

    async def key(self, place: Place) -> str:
        """A key for the student of a place."""
        token, _ = await create_key(self.store, place.student, place.student, SCOPES)
        return token

    async def run(self, command: Sequence[str], key: str, at: Web | None = None) -> str:
        """What a client prints that has only an address, by choice `a`'s, and this key."""
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "OPENAI_BASE_URL": (at or self.a).url,
            "OPENAI_API_KEY": key,
        }
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(
            *command, cwd=self.home, env=environ, stdout=pipe, stderr=pipe
        )
        try:
            async with asyncio.timeout(SCRIPT_S):
                told, complaints = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        assert client.returncode == 0, complaints.decode()
        return told.decode()

    async def column(self, statement: str, **values: Any) -> list[Any]:
        """The first column of what a statement finds."""
        async with self.store.read() as db:
            rows = await db.fetch_all(statement, **values)
        return [next(iter(row.values())) for row in rows]


@asynccontextmanager
async def service(server_url: str, places: Sequence[Place], home: Path) -> AsyncIterator[Service]:
    """The processes and their database, until the body ends."""
    name = f"conformance_{secrets.token_hex(6)}"
    async with academy(server_url, name, places) as url, slow_model() as model:
        model.rules = _reply
        settings = {"DATABASE_URL": url, "OPENAI_BASE_URL": model.url, "WORKFLOWS": WORKFLOWS}
        store = await open_store(url)
        try:
            await store.run_script(refunds.schema)
            async with (
                webs(2, settings, home) as (a, b),
                webs(1, {**settings, "TOOL_ITEMS": "function"}, home) as (plain,),
                webs(1, {"DATABASE_URL": url, "WEB_DRIVES": "foreground"}, home) as (demo,),
            ):
                yield Service(a, b, plain, demo, store, home)
        finally:
            await store.close()


def _reply(body: Mapping[str, Any]) -> list[Item]:
    """As the demo model, but it counts, says what it was told, and ends an agent's task."""
    said = [text_of(item["content"]) for item in body["input"] if item.get("role") == "user"]
    if said[-1] == "What did I say?":
        return [message("You said: " + " ".join(said[:-1]))]
    if found := re.fullmatch(r"Count to (\d+)\.", said[-1]):
        return [message(" ".join(map(str, range(1, int(found[1]) + 1))))]
    return _step(body, said[-1]) or rules.reply(body)


def _step(body: Mapping[str, Any], said: str) -> list[Item]:
    """The next step of an agent that has to call a tool in each; results come as user messages."""
    if not any(tool["name"] == "final_answer" for tool in body.get("tools") or ()):
        return []
    if found := re.search(r"Observation:\s*(.+)", said):
        return [function_call("call_b", "final_answer", {"answer": found[1]})]
    found = re.search(r"The weather in: (\w+)", said)
    return [function_call("call_a", "get_weather", {"city": found[1]})] if found else []
