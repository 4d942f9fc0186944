"""Commands run as a user runs them, in a temporary directory, with a model that follows rules.

`shop.py` in that directory is the workflow. The model replies `said: …`. To `call NAME {…}` it
calls that tool, and then replies with the result.
"""

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services.model.mock_server import Behaviour, Call, MockServer, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.boot import migrate_journal, read_environment
from twelvefold.cli.main import main
from twelvefold.config import Settings, list_variables

SHOP = '''
"""A workflow as a user would write it."""

from twelvefold import Principal, ToolRefused, Transaction, Workflow, tool


@tool
async def buy(tx: Transaction, who: Principal, what: str) -> str:
    """Buy something."""
    if what == "moon":
        raise ToolRefused("the moon is not for sale")
    await tx.execute("insert into bought (who, what) values (:who, :what)", who=who.id, what=what)
    return f"bought {what}"


@tool(approval=True)
async def pay(tx: Transaction, cents: int, note: str | None = None) -> str:
    """Pay."""
    return f"paid {cents}"


@tool(approval=True)
async def refund(tx: Transaction, number: int, cents: int = 1500) -> str:
    """Refund an order."""
    return f"refunded {cents} of {number}"


@tool(effect="unsafe")
async def shout(what: str) -> str:
    """Shout, which cannot be undone."""
    import asyncio

    print("shouting", flush=True)
    await asyncio.sleep(60)
    return "shouted"


@tool
async def brew(tx: Transaction) -> str:
    """Brew tea, until the file `brewed` is there."""
    import asyncio
    from pathlib import Path

    print("brewing", flush=True)
    while not Path("brewed").exists():
        await asyncio.sleep(0.01)
    return "brewed"


async def seed(tx, records=None):
    count = 0
    for record in records if records is not None else [{"what": "first"}]:
        await tx.execute("insert into bought values ('seed', :what)", what=record["what"])
        count += 1
    return count


workflow = Workflow(
    "shop",
    "You sell things.",
    (buy, pay, refund, shout, brew),
    schema="create table if not exists bought (who varchar(80), what varchar(80));",
    seed=seed,
)
'''


@dataclass
class Result:
    """The exit status and output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Twelvefold = Callable[..., Result]


def replies(body: dict[str, Any]) -> FakeReply:
    """Return the reply that the rules give."""
    last = body["input"][-1]
    if last["type"] == "function_call_output":
        return FakeReply(f"result: {last['output']}")
    text = last["content"][0].get("text", "")
    if text.startswith("call "):
        _, name, arguments = text.split(" ", 2)
        return FakeReply("", [(f"call_{len(body['input'])}", name, arguments)])
    return FakeReply(f"said: {text}")


async def follow_rules(call: Call) -> None:
    await streams(responses_events(replies(call.body)))(call)


class ModelServer:
    """The mock server in a thread with its own event loop, since a command has one too."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()
        self._server = MockServer()
        self._server.will(follow_rules)

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        self._wait(self._stack.enter_async_context(self._server))
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=240)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def calls(self) -> list[Call]:
        return self._server.calls

    def will(self, *behaviours: Behaviour) -> None:
        self._server.will(*behaviours)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a working directory with `shop.py`, and remove settings from the environment."""
    for variable in list_variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture(autouse=True)
def _process_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command changes in its process."""
    root, threshold = logging.getLogger(), gc.get_threshold()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)
    gc.set_threshold(*threshold)
    gc.unfreeze()
    for name in ("desk", "shop"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded database to copy: creating one takes half a second."""
    path = tmp_path_factory.mktemp("cli") / "twelvefold.db"
    asyncio.run(migrate_journal(Settings(database_url=f"sqlite:///{path}")))
    return path


@pytest.fixture
def shop(
    here: Path, model: ModelServer, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelServer:
    """Configure the workflow and its model."""
    shutil.copy(migrated_file, here)
    monkeypatch.setenv("WORKFLOWS", "shop:workflow")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    return model


@pytest.fixture
def tw(capfd: pytest.CaptureFixture[str]) -> Twelvefold:
    """Run a command: `tw("runs", "list").out`."""

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        status = main(arguments)
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return run


def child_environ(**changes: str) -> dict[str, str]:
    """Return the environment for a command in a separate process."""
    source = Path(__file__).resolve().parents[2] / "src"
    return {**read_environment(), "PYTHONPATH": os.fspath(source), **changes}


def child(here: Path, *arguments: str, stdin: str = "", **environ: str) -> Result:
    """Run a command in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "twelvefold", *arguments],
        env=child_environ(**environ),
        cwd=here,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def stopped_while_shouting(here: Path, number: signal.Signals) -> Result:
    """Send a signal to a run during a call that cannot be undone."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "run", 'call shout {"what": "hi"}'],
        env=child_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=here,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "shouting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=240)
    return Result(process.returncode, out, err)
