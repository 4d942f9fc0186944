"""Programs that run a workflow with `App` and die: others continue, nothing is lost or doubled."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.app_script import Planned, settings, shop
from tests.acceptance.database import SERVER, empty_database
from twelvefold import App, open_services
from twelvefold.admin.migrate import migrate
from twelvefold.errors import SettingsError

DONE = {
    "status": "completed",
    "text": "Bread and milk are bought.",
    "calls": ["bread is bought", "charged", "milk is bought"],
}
KINDS = ["sqlite", pytest.param("server", marks=pytest.mark.mysql)]
CASES = [
    *(("run", place) for place in ("reply 1", "buy", "reply 2", "charge", "reply 3", "reply 4")),
    *(("resume", place) for place in ("buy", "reply 3")),
    *(("work", place) for place in ("charge", "reply 4")),
]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "server" and not SERVER.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")
    with empty_database(request.param, tmp_path) as url:
        if request.param == "server":
            asyncio.run(migrated(url))
        yield url


async def migrated(url: str) -> None:
    async with open_services(
        settings(url), workflows={shop.name: shop}, with_model=False
    ) as opened:
        await migrate(settings(url), opened)


class Programs:
    """Programs that work on one database, one after the other."""

    def __init__(self, url: str, here: Path) -> None:
        self.url = url
        self.charges = here / "charges"

    def run(self, action: str, place: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.acceptance.app_script", action]
        places = [place] if place else []
        return subprocess.run(
            [*command, self.url, self.charges, *places],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def result(self, action: str) -> dict[str, Any]:
        done = self.run(action)
        assert done.returncode == 0, done.stderr
        run: dict[str, Any] = json.loads(done.stdout)
        return run

    async def rows(self) -> list[str]:
        async with (
            open_services(settings(self.url), with_model=False) as services,
            services.store.read() as db,
        ):
            found = await db.fetch_all("select item, who from bought order by item")
        return [f"{row['item']} for {row['who']}" for row in found]


@pytest.mark.parametrize(("action", "place"), CASES)
def test_a_run_whose_program_was_killed_is_continued_by_another(
    url: str, tmp_path: Path, action: str, place: str
) -> None:
    programs = Programs(url, tmp_path)

    killed = programs.run("run", place)
    if action == "work":
        time.sleep(1.2)  # a worker that stops when idle does not wait for the lease to expire
    run = programs.result(action)

    assert killed.returncode == -signal.SIGKILL
    assert {**DONE, "id": run["id"]} == run
    assert asyncio.run(programs.rows()) == ["bread for ann", "milk for ann"]
    charges = programs.charges.read_text().splitlines()
    # At least once, and always with the same key.
    assert len(charges) == (2 if place == "charge" else 1)
    assert len(set(charges)) == 1
    assert programs.result("run") == run


@pytest.mark.mysql
def test_a_server_is_never_migrated_by_an_app(tmp_path: Path) -> None:
    async def open_app(url: str) -> None:
        async with App([shop], settings=settings(url), model=Planned()):
            pass

    with (
        empty_database("server", tmp_path) as url,
        pytest.raises(SettingsError, match="run `twelvefold migrate`"),
    ):
        asyncio.run(open_app(url))
