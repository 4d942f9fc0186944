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
from tests.smtp_sink import Sink
from twelvefold.services.store import open_store

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(240)]
URL = os.environ.get("DATABASE_URL", "")
NUMBERS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
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


SABOTAGES = (
    Sabotage(
        "I",
        "somebody changed an installed file",
        "errors.py",
        added="# a hot fix, on this machine alone\n",
        hidden=True,
    ),
    Sabotage(
        "II",
        "a module imports what another package happens to bring",
        "web/limits.py",
        added="import multidict\n",
    ),
    Sabotage(
        "III",
        "a file in /etc has defaults",
        "boot.py",
        (("    return dict(os.environ)\n", "    return {**_of_this_machine(), **os.environ}\n"),),
        """

def _of_this_machine() -> dict[str, str]:
    try:
        lines = Path("/etc/twelvefold.conf").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines)
""",
    ),
    Sabotage(
        "IV",
        "mail goes to the machine's own server, whatever the URL says",
        "services/mail/__init__.py",
        (("Server.parse(smtp_url)", 'Server.parse("smtp://localhost")'),),
    ),
    Sabotage(
        "V",
        "the log does not say which release wrote it",
        "observe/log.py",
        (("            **self._release,\n", ""),),
    ),
    Sabotage(
        "VI",
        "a web process knows only the responses that it made itself",
        "web/starting.py",
        (
            (
                "    place = await place_of(services, principal, request)\n",
                "    if request.previous and request.previous not in _KNOWN:\n"
                '        raise ApiError(404, "there is no such response")\n'
                "    place = await place_of(services, principal, request)\n",
            ),
            (
                "    task = web.drives.start(",
                "    _KNOWN.add(str(ResponseId(driven.run)))\n    task = web.drives.start(",
            ),
        ),
        "\n_KNOWN: set[str] = set()\n",
    ),
    Sabotage(
        "VII",
        "web listens at every address, for the sake of a server in front of it",
        "web/server.py",
        (("in _addresses(host, port)", 'in _addresses("0.0.0.0", port)'),),
    ),
    Sabotage(
        "VIII",
        "a worker that takes a run up does not keep it from the others",
        "services/store/queries/journal.sql",
        (
            (
                "status = 'running', lease_token = :token, lease_until = {now_us} + :lease_us",
                "status = 'running', lease_token = :token, lease_until = {now_us} + 0 * :lease_us",
            ),
        ),
    ),
    Sabotage(
        "IX",
        "a worker drops everything at SIGTERM",
        "cli/worker.py",
        (
            (
                "    stop = asyncio.Event()\n",
                "    stop = asyncio.Event()\n    stop.set = lambda: os._exit(1)\n",
            ),
            ("import asyncio\n", "import asyncio\nimport os\n"),
        ),
    ),
    Sabotage(
        "X",
        "any server will do",
        "services/store/mysql.py",
        (
            (
                '        return list(problems(variables, [row["name"] for row in others]))\n',
                "        return []\n",
            ),
        ),
    ),
    Sabotage(
        "XI",
        "the log goes to a file, too",
        "observe/log.py",
        (("= [handler]", '= [handler, logging.FileHandler("twelvefold.log")]'),),
    ),
    Sabotage(
        "XII",
        "whatever starts brings the database up to date",
        "admin/migrate.py",
        (
            (
                "        await _prepare_file(settings, services, file)\n",
                "        await _prepare_file(settings, services, file)\n"
                "    else:\n"
                "        await migrate(settings, services)\n",
            ),
        ),
    ),
)


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


def test_each_factor_is_sabotaged() -> None:
    assert tuple(one.factor for one in SABOTAGES) == NUMBERS


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
