"""What a process prepares before it takes a run: asserted by what is there, not by time."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import Annotated

import pytest
from pydantic import BaseModel

from tests.engine.stage import Stage
from twelvefold.core.ports import Listener, ModelReply, ModelRequest
from twelvefold.core.workflow import Workflow, tool
from twelvefold.engine.preparation import Preparation, prepare

IN_A_PROCESS_OF_ITS_OWN = """
import asyncio, sys
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.engine.preparation import prepare

LAZY = ("aiohttp", "pydantic", "sqlalchemy.dialects.mysql")

def there():
    return [name for name in LAZY if name in sys.modules]

async def main():
    settings = Settings(openai_base_url="http://127.0.0.1:9/v1", database_url=sys.argv[1])
    async with open_services(settings) as services:
        print(there())
        if "mysql" in sys.argv[1]:
            import sqlalchemy  # as a workflow would
        prepare(services)
        print(there())
        tools = [tool for one in services.workflows.values() for tool in one.tools]
        print(all("spec" in vars(tool) and "_adapter" in vars(tool.parameters) for tool in tools))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("url", "prepared"),
    [
        ("sqlite://", ["aiohttp", "pydantic"]),
        ("mysql://a:b@127.0.0.1:9/c", ["aiohttp", "pydantic", "sqlalchemy.dialects.mysql"]),
    ],
    ids=["sqlite", "sqlalchemy on mysql"],
)
def test_what_a_first_run_would_import_is_imported(url: str, prepared: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, url],
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
        raise AssertionError("nobody asks")

    async def close(self) -> None:
        """Nothing is open."""


async def test_all_who_wait_wait_for_one_preparation(stage: Stage) -> None:
    model = Client()
    preparation = Preparation(replace(stage.process(), model=model))

    await asyncio.gather(preparation.ready(), preparation.ready())
    await preparation.ready()

    assert model.prepared == 1


async def test_who_is_cancelled_leaves_the_preparation_to_the_others(stage: Stage) -> None:
    model = Client()
    preparation = Preparation(replace(stage.process(), model=model))
    impatient = asyncio.ensure_future(preparation.ready())
    await asyncio.sleep(0)

    impatient.cancel()
    await preparation.ready()

    assert impatient.cancelled()
    assert model.prepared == 1


async def test_a_tool_without_a_schema_is_reported_and_keeps_no_other_from_being_prepared(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Strange(BaseModel):
        """Not whole: what it is made of is not defined yet, which may change until it is used."""

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


async def test_whatever_cannot_be_prepared_is_reported_and_ends_no_process(
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
