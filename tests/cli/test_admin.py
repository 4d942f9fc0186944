"""The one-off commands."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.conftest import private_mysql
from tests.cli.conftest import Twelvefold, child
from twelvefold.services.store.migrate import HEAD
from twelvefold.services.store.migrations import versions

VERSIONS = Path(versions.__path__[0])


@pytest.fixture
def mysql_url() -> Iterator[str]:
    with private_mysql() as url:
        yield url


def test_settings_are_listed_with_their_origin(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://app:hush@db/shop")
    (here / ".env").write_text("MAX_STEPS=7\n")

    done = tw("settings")

    assert done.status == 0
    assert done.lines[0].split() == ["NAME", "VALUE", "FROM", "MEANING"]
    cells = {line.split()[0]: line.split()[1:3] for line in done.lines[1:]}
    assert cells["DATABASE_URL"] == ["mysql://app:****@db/shop", "environment"]
    assert cells["MAX_STEPS"] == ["7", ".env"]
    assert cells["PORT"] == ["8000", "default"]


def test_invalid_settings_are_listed_and_reported(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "x")

    done = tw("settings", "--json")

    assert done.status == 2
    rows = [json.loads(line) for line in done.lines]
    assert {"name": "PORT", "value": "x", "from": "environment"}.items() <= next(
        row.items() for row in rows if row["name"] == "PORT"
    )
    assert done.err == "twelvefold: PORT: 'x': use a whole number, 0 to 65535\n"


@pytest.mark.usefixtures("shop")
def test_seed_writes_the_workflows_own_records(tw: Twelvefold) -> None:
    done = tw("seed")

    assert (done.status, done.out) == (0, "1 records added to the tables of shop\n")


@pytest.mark.usefixtures("shop")
def test_seed_reads_a_file(here: Path, tw: Twelvefold) -> None:
    (here / "a.gz").write_bytes(gzip.compress(b'{"what": "a"}\n{"what": "b"}\n'))

    assert tw("seed", "--workflow", "shop", "--file", "a.gz").out.startswith("2 records")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow", "nope"], "no workflow 'nope'; there are shop"),
        (["--file", "none"], "none: cannot read the file"),
        (["--file", "bad"], "bad, line 1: not JSON"),
    ],
)
def test_a_failed_seed_is_an_error_message(
    here: Path, tw: Twelvefold, arguments: list[str], message: str
) -> None:
    (here / "bad").write_text("x\n")

    done = tw("seed", *arguments)

    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_migrate_prints_what_it_applied(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKFLOWS", "shop:workflow")

    revisions = [f"applied {path.name[1:5]}" for path in sorted(VERSIONS.glob("r[0-9]*.py"))]
    assert tw("migrate").lines == [*revisions, "applied workflow shop"]
    assert tw("migrate").lines == ["applied workflow shop"]


@pytest.mark.usefixtures("shop")
def test_migrate_can_print_its_sql(here: Path, tw: Twelvefold) -> None:
    done = tw("migrate", "--sql")

    assert done.status == 0
    assert "CREATE TABLE" in done.out
    assert "create table if not exists bought" in done.out


@pytest.mark.usefixtures("shop")
def test_migrate_can_print_the_sql_since_a_revision(here: Path, tw: Twelvefold) -> None:
    done = tw("migrate", "--sql", "--since", "0001")

    assert done.status == 0
    assert "CREATE TABLE IF NOT EXISTS deltas" in done.out
    assert "CREATE TABLE IF NOT EXISTS events" not in done.out
    assert tw("migrate", "--sql", "--since", "none").status == 1


@pytest.mark.usefixtures("shop")
def test_the_doctor_reports_what_works(tw: Twelvefold) -> None:
    tw("migrate")

    lines = [line.split()[:2] for line in tw("doctor").lines]

    assert ["ok", "database"] in lines
    assert ["warn", "parity"] in lines
    assert ["ok", "schema"] in lines


@pytest.mark.usefixtures("shop")
def test_the_doctor_reports_almost_correct_names(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABSE_URL", "mysql://u:secret@db/shop")

    lines = [line for line in tw("doctor").lines if line.split()[1] == "settings"]

    message = "unknown variable DATABSE_URL; did you mean DATABASE_URL?"
    assert lines == [f"warn  settings             {message}"]


def test_the_doctor_fails_if_a_check_fails(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    done = tw("doctor", "--json")

    assert done.status == 1
    findings = {row["what"]: row for row in map(json.loads, done.lines)}
    assert findings["model"]["level"] == "fail"


@pytest.mark.usefixtures("shop")
def test_prune_removes_old_conversations_whose_run_does_not_wait(tw: Twelvefold) -> None:
    tw("run", "over")
    tw("run", 'call pay {"cents": 3}')

    assert tw("prune", "--older-than", "1d").out == "0 conversations removed\n"
    assert tw("prune", "--older-than", "0s").out == "1 conversations removed\n"
    [_, left] = tw("runs", "list").lines
    assert "waiting" in left


@pytest.mark.usefixtures("shop")
def test_the_shell_reads_statements_and_awaits(here: Path) -> None:
    statements = "len(workflows)\nawait store.schema()\nundefined\nexit()\n"

    done = child(here, "shell", stdin=statements)

    assert done.status == 0
    assert "1" in done.out
    assert repr(HEAD) in done.out
    assert "NameError: name 'undefined' is not defined" in done.err
    assert "use services, store, workflows, await" in done.err


@pytest.mark.mysql
@pytest.mark.usefixtures("shop")
def test_a_server_is_migrated_only_by_the_command(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch, mysql_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", mysql_url)

    for command in (["run", "hi"], ["chat"], ["runs", "list"], ["seed"]):
        done = tw(*command)
        assert (done.status, done.out) == (2, "")
        assert "run `twelvefold migrate`" in done.err

    assert tw("migrate").status == 0
    bought = tw("run", 'call buy {"what": "pear"}')
    assert (bought.status, bought.out) == (0, "result: bought pear\n")


@pytest.mark.mysql
@pytest.mark.usefixtures("shop")
def test_a_wrong_password_is_an_error_message(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch, mysql_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", mysql_url.replace("@", "wrong@"))

    done = tw("run", "hi")

    assert (done.status, done.out) == (2, "")
    assert "twelvefold: DATABASE_URL: the database reports: Access denied" in done.err
    assert "wrong" not in done.err


@pytest.mark.usefixtures("shop")
def test_an_unreachable_server_means_try_again(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://a:b@127.0.0.1:9/c")

    done = tw("run", "hi")

    assert (done.status, done.out) == (75, "")
    assert "twelvefold: the database cannot be reached" in done.err
