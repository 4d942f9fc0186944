"""What a process prepares before it claims a run."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from tests.engine.stage import Stage
from tests.services.model.mock_server import MockServer, streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.core.tools.tool import tool
from twelvefold.core.workflow import Workflow
from twelvefold.engine.services import Preparation, prepare
from twelvefold.services.store.migrate import migrate

SCRIPT = """
import asyncio, sys
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.engine.services import prepare

LAZY = ("aiohttp", "pydantic", "sqlalchemy.dialects.mysql")

def there():
    return [name for name in LAZY if name in sys.modules]

async def main():
    _, url, proxy = sys.argv
    settings = Settings(
        openai_base_url="http://127.0.0.1:9/v1", database_url=url, http_proxy=proxy
    )
    async with open_services(settings) as services:
        print(there())
        if "mysql" in url:
            import sqlalchemy  # as a workflow would
        prepare(services)
        print(there())
        tools = [tool for one in services.workflows.values() for tool in one.tools]
        print(all("spec" in vars(tool) and "_adapter" in vars(tool.parameters) for tool in tools))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("url", "proxy", "prepared"),
    [
        ("sqlite://", "", ["pydantic"]),
        ("sqlite://", "http://127.0.0.1:9", ["aiohttp", "pydantic"]),
        ("mysql://a:b@127.0.0.1:9/c", "", ["pydantic", "sqlalchemy.dialects.mysql"]),
    ],
    ids=["sqlite", "a proxy", "sqlalchemy on mysql"],
)
def test_modules_of_the_first_run_are_imported(url: str, proxy: str, prepared: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, url, proxy],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["[]", str(prepared), "True"]


class Client:
    """A model whose client is imported when it is prepared."""

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        raise AssertionError("no request is sent")

    async def close(self) -> None:
        """Nothing is open."""


async def test_all_callers_wait_for_the_same_preparation(stage: Stage) -> None:
    model = Client()
    preparation = Preparation(replace(stage.process(), model=model))

    await asyncio.gather(preparation.ready(), preparation.ready())
    await preparation.ready()

    assert model.prepared == 1


async def test_a_cancelled_caller_does_not_cancel_the_preparation(stage: Stage) -> None:
    model = Client()
    preparation = Preparation(replace(stage.process(), model=model))
    impatient = asyncio.ensure_future(preparation.ready())
    await asyncio.sleep(0)

    impatient.cancel()
    await preparation.ready()

    assert impatient.cancelled()
    assert model.prepared == 1


async def test_a_tool_without_a_schema_is_logged_and_others_are_prepared(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Strange(BaseModel):
        """Refers to a type that is not defined yet."""

        what: "NotDefinedYet"  # type: ignore[name-defined]  # noqa: F821

    @tool(effect="pure")
    async def bad(what: Annotated[Strange, "something"]) -> str:
        """Take something."""
        return ""

    @tool(effect="pure")
    async def good(what: str) -> str:
        """Take a text."""
        return what

    prepare(stage.process(workflow=Workflow("shop", "Sell.", (bad, good))))

    (line,) = caplog.records
    assert line.message == "tool_not_prepared"
    assert "_adapter" in vars(good.parameters)


async def test_an_error_of_the_preparation_is_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Client):
        def prepare(self) -> None:
            raise ImportError("no module named 'aiohttp'")

    @tool(effect="pure")
    async def odd(what: str) -> str:
        """Take a text."""
        return what

    def fail() -> None:
        raise RuntimeError("a type of the author's")

    monkeypatch.setattr(odd.parameters, "prepare", fail)
    services = stage.process(workflow=Workflow("shop", "Sell.", (odd,)))

    await Preparation(replace(services, model=Broken())).ready()

    assert [line.message for line in caplog.records] == [
        "service_not_prepared",
        "tool_not_prepared",
    ]


FIRST_RUN_SCRIPT = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from pydantic import BaseModel
from twelvefold import Principal, Transaction, Workflow, tool
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core import NullListener
from twelvefold.engine import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import prepare

class Order(BaseModel):
    item: str

@tool
async def buy(tx: Transaction, order: Order) -> str:
    "Buy."
    await tx.execute("insert into bought values (:item)", item=order.item)
    return "bought"

async def main():
    settings = Settings(openai_base_url=sys.argv[1], database_url=sys.argv[2])
    async with open_services(settings) as opened:
        services = replace(opened, workflows={"shop": Workflow("shop", "Sell.", (buy,))})
        prepare(services)
        before = set(sys.modules)
        items = [{"type": "message", "role": "user", "content": "a lamp"}]
        held = await start_run(services, RunRequest("shop", Principal("ann"), items))
        outcome = await drive(services, held, NullListener())
        print(outcome.status, sorted(set(sys.modules) - before))

asyncio.run(main())
"""


async def test_the_first_run_imports_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    await migrate(url)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        db.execute("create table bought (item text not null)")
    call = "c1", "buy", '{"order": {"item": "a lamp"}}'

    async with MockServer() as server:
        server.will(
            streams(responses_events(FakeReply(calls=[call]))),
            streams(responses_events(FakeReply("Done."))),
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FIRST_RUN_SCRIPT, server.url, url), stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()

    assert output.decode() == "completed []\n"
