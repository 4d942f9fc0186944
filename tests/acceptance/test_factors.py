"""`twelvefold factors` on a release installed from its wheel: whole, and broken in one place."""

import asyncio
import os
import secrets
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.crash import Process
from tests.acceptance.installed import Installed, Sabotage, installed
from tests.acceptance.sabotages import NUMBERS, SABOTAGES
from tests.smtp_sink import Sink
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(240)]
URL = os.environ.get("DATABASE_URL", "")
SENDER = "Ann <ann@example.org>"


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return installed(tmp_path_factory.mktemp("wheel"))


async def _left_behind() -> list[str]:
    store = await open_store(URL)
    try:
        async with store.read() as db:
            rows = await db.fetch_all(
                "select schema_name as one from information_schema.schemata"
                " where schema_name like 'tw\\_factors\\_%'"
            )
            return [row["one"] for row in rows]
    finally:
        await store.close()


async def test_all_twelve_pass_on_a_server_with_a_mail_server(release: Installed) -> None:
    async with Sink().serving() as sink:
        settings = {"DATABASE_URL": URL, "SMTP_URL": sink.url(), "MAIL_FROM": SENDER}
        status, rows = await release.factors(settings)

    assert {number: row["result"] for number, row in rows.items()} == dict.fromkeys(NUMBERS, "pass")
    assert status == 0
    assert all(row["evidence"] for row in rows.values())
    assert [(one.sender, one.recipient) for one in sink.mails] == [("ann@example.org",) * 2]
    assert await _left_behind() == []


async def test_the_embedded_default_says_what_it_cannot_claim(release: Installed) -> None:
    status, rows = await release.factors({})

    results = {number: row["result"] for number, row in rows.items()}
    assert results == {**dict.fromkeys(NUMBERS, "pass"), "X": "not claimed", "XII": "not claimed"}
    assert "SQLite" in rows["X"]["evidence"][-1]
    assert status == 0
    assert not (release.folder / "twelvefold.db").exists()


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: f"{one.factor}: {one.breaks}")
async def test_a_sabotage_turns_its_own_row_and_no_other(
    release: Installed, sabotage: Sabotage, tmp_path: Path
) -> None:
    broken = release.broken(sabotage, tmp_path / "release")

    async with Sink().serving() as sink:
        settings = {"DATABASE_URL": URL, "SMTP_URL": sink.url(), "MAIL_FROM": SENDER}
        status, rows = await broken.factors(settings)

    failed = {number: row["evidence"] for number, row in rows.items() if row["result"] != "pass"}
    assert failed.keys() == {sabotage.factor}, failed
    assert rows[sabotage.factor]["result"] == "fail"
    assert rows.keys() == set(NUMBERS)
    assert status == 1
    assert await _left_behind() == []


async def test_ctrl_c_leaves_no_database_and_no_process_behind(release: Installed) -> None:
    process = await _started(release, "VIII", database_url=URL)
    while len(await _left_behind()) < 2:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()

    assert (process.returncode, await _left_behind()) == (130, []), said.decode()


async def test_a_user_who_may_make_no_database_is_told_what_to_grant(release: Installed) -> None:
    parts, user = urlsplit(URL), f"tw_poor_{secrets.token_hex(4)}"
    url = parts._replace(netloc=f"{user}:Poor-1234@{parts.netloc.rpartition('@')[2]}").geturl()
    store = await open_store(URL)
    try:
        await store.run_script(f"create user '{user}'@'%' identified by 'Poor-1234'")
        await store.run_script(f"grant select on {parts.path.lstrip('/')}.* to '{user}'@'%'")
        process = await _started(release, "X", database_url=url)
        _, said = await process.communicate()
        await store.run_script(f"drop user '{user}'@'%'")
    finally:
        await store.close()

    assert process.returncode == 2
    assert b"GRANT ALL ON `tw\\_factors\\_%`.*" in said
    assert b"Traceback" not in said


async def _started(release: Installed, number: str, *, database_url: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "twelvefold", "factors", number),
        stderr=asyncio.subprocess.PIPE,
        cwd=release.folder,
        env={"PYTHONPATH": str(release.folder), "DATABASE_URL": database_url},
    )
