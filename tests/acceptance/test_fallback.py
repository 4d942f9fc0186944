"""A worker is killed after a fallback, in the middle of the second model's reply."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.database import SERVER, private_database
from tests.builders import user
from tests.engine.reading import Reader
from tests.services.model.mock_server import MockServer, cuts, stalls, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold import Settings, open_services
from twelvefold.core.events import ModelReplied, RequestOptions, Usage
from twelvefold.core.ports import Principal
from twelvefold.engine import RunRequest, Services, enqueue_run
from twelvefold.services.store.migrate import migrate

FLOW = """
from twelvefold import Fallback, Workflow

workflow = Workflow("desk", "Help.", (), model=Fallback("fast", "careful"))
"""
FAST = responses_events(FakeReply("I will not finish this."))
CAREFUL = responses_events(FakeReply("Hello Ann, here I am."))
SPENT = Usage(100, 20, 30, 5)


@asynccontextmanager
async def worker(
    environ: Mapping[str, str], here: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twelvefold", "worker", "--until-idle"),
        env={**os.environ, **environ},
        cwd=here,
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def shown(reader: Reader) -> str:
    """Return the text that a reader shows in the end."""
    pieces: list[str] = []
    for event in reader.events:
        if event[0] == "text":
            pieces.append(str(event[3]))
        elif event[0] == "given up":
            pieces.clear()
    return "".join(pieces)


async def until_shown(reader: Reader, text: str) -> None:
    while shown(reader) != text:
        await asyncio.sleep(0.05)
        await reader.look()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("server", marks=pytest.mark.mysql)])
async def test_a_kill_in_mid_reply_doubles_no_text_and_loses_no_usage(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = f"desk_{secrets.token_hex(4)}"
    (tmp_path / f"{module}.py").write_text(FLOW)
    server = "sqlite" if kind == "sqlite" else SERVER
    name = f"fallback_{secrets.token_hex(6)}"
    async with (
        private_database(server, name) as url,
        MockServer() as fast,
        MockServer() as careful,
    ):
        models = {
            "fast": {"url": fast.url, "model": "small-1"},
            "careful": {"url": careful.url, "model": "large-1"},
        }
        environ = {
            "DATABASE_URL": url,
            "WORKFLOWS": f"{module}:workflow",
            "MODELS": json.dumps(models),
            "LEASE_S": "1",
        }
        await migrate(url)
        async with open_services(Settings.from_environ(environ), with_model=False) as services:
            await _play(services, environ, tmp_path, fast, careful)


async def _play(
    services: Services,
    environ: Mapping[str, str],
    here: Path,
    fast: MockServer,
    careful: MockServer,
) -> None:
    options = RequestOptions(stream=True)
    request = RunRequest("desk", Principal("ann"), [user("Hi")], options=options)
    run, _ = await enqueue_run(services, request)
    live = Reader(services.store, run.thread)
    fast.will(cuts(FAST[: len(FAST) // 2]))
    careful.will(stalls(CAREFUL[: len(CAREFUL) // 2]))

    async with worker(environ, here) as first:
        await until_shown(live, "Hello A")
        first.kill()
    paid = (await services.store.run(run)).usage
    while (await services.store.run(run)).leased:  # an idle worker would end before
        await asyncio.sleep(0.05)
    careful.will(streams(CAREFUL))
    async with worker(environ, here) as second:
        assert await second.wait() == 0

    record = await services.store.run(run)
    await live.look()
    late = Reader(services.store, run.thread)
    await late.look()
    entries = (await services.store.load(run.thread)).entries
    (reply,) = [one.event for one in entries if isinstance(one.event, ModelReplied)]
    (attempt,) = reply.attempts
    assert record.status == "completed"
    assert shown(live) == shown(late) == "Hello Ann, here I am."
    assert (attempt.model, reply.named) == ("fast", "careful")
    assert paid == attempt.usage
    assert paid.total_tokens > 0
    assert record.usage == paid + attempt.usage + SPENT
