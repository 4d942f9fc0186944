"""The format of `.env`, and warnings about variables whose names are not known."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Twelvefold
from twelvefold.cli.dotenv import read_dotenv
from twelvefold.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("  export KEY = value  ", "value"),
        ("KEY=", ""),
        ("KEY=   # nothing", ""),
        ("KEY=two words", "two words"),
        ("KEY=a#b", "a#b"),
        ("KEY=a # b", "a"),
        ("KEY=mysql://a:b@c/d?e=f", "mysql://a:b@c/d?e=f"),
        ("KEY='it # is $HOME \\n'", "it # is $HOME \\n"),
        ('KEY="two\\nlines \\"quoted\\" \\\\ \\x" # why', 'two\nlines "quoted" \\ \\x'),
        ("KEY=it's", "it's"),
        ("KEY=''", ""),
    ],
)
def test_a_line_sets_a_value(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"# first\n\n{line}\n")

    assert read_dotenv(tmp_path / ".env") == {"KEY": value}


def test_the_last_of_two_lines_counts_and_a_byte_order_mark_is_ignored(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1\r\nA=2\r\n")

    assert read_dotenv(tmp_path / ".env") == {"A": "2"}


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}


def test_every_bad_line_is_reported_by_its_number_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nsecret\n1B=2\nC='half\n")

    with pytest.raises(SettingsError) as caught:
        read_dotenv(path)

    assert caught.value.problems == tuple(
        f"{path}, line {number}: not KEY=VALUE" for number in (2, 3, 4)
    )


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff")

    with pytest.raises(SettingsError, match="cannot read the file"):
        read_dotenv(path)


def test_a_misspelt_setting_in_the_file_is_a_warning(here: Path, tw: Twelvefold) -> None:
    (here / ".env").write_text("PORTS=80\n")

    done = tw("settings")

    assert done.status == 0
    assert done.err == "twelvefold: .env: unknown variable PORTS; did you mean PORT?\n"


def test_a_misspelt_setting_in_the_environment_is_a_warning(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABSE_URL", "mysql://u:secret@db/shop")
    monkeypatch.setenv("DATABASE_HOST_OF_ANOTHER_PROGRAM", "db")

    done = tw("settings", "--json")

    assert done.status == 0
    warning = "environment: unknown variable DATABSE_URL; did you mean DATABASE_URL?"
    assert done.err == f"twelvefold: {warning}\n"
    assert all(map(json.loads, done.lines))


def test_a_misspelt_setting_in_the_file_and_the_environment_is_one_warning(
    here: Path, tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".env").write_text("PORTS=80\n")
    monkeypatch.setenv("PORTS", "81")

    assert tw("settings").err == "twelvefold: .env: unknown variable PORTS; did you mean PORT?\n"
