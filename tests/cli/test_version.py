"""`twelvefold version`: this release, and the releases installed on the database."""

import pytest

from tests.cli.conftest import Twelvefold
from twelvefold import __version__
from twelvefold.boot import SCHEMA


def test_a_working_copy_is_identified(tw: Twelvefold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASE_ID", "r7")

    text = tw("version").out

    assert text == f"twelvefold {__version__} (a working copy), release r7, schema {SCHEMA}\n"
    facts = {"version": __version__, "commit": "", "release": "r7", "schema": SCHEMA}
    assert tw("version", "--json").json == facts


@pytest.mark.usefixtures("here")
def test_installed_releases_are_listed(tw: Twelvefold, monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("r1", "r2", "r2"):
        monkeypatch.setenv("RELEASE_ID", release)
        tw("migrate")

    done = tw("version", "--history")

    heads, *lines = done.lines
    assert heads.split()[:4] == ["RELEASE", "VERSION", "COMMIT", "SCHEMA"]
    assert [line.split()[:3] for line in lines] == [
        ["r2", __version__, SCHEMA],
        ["r1", __version__, SCHEMA],
    ]
    newest = tw("version", "--history", "--limit", "1", "--json").json
    assert (newest["release"], newest["schema"]) == ("r2", SCHEMA)
    assert newest["at_us"] > 0
