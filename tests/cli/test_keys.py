"""`twelvefold keys`, as it is typed."""

import json
import re

import pytest

from tests.cli.conftest import Twelvefold

pytestmark = pytest.mark.usefixtures("shop")


def listed(tw: Twelvefold) -> list[dict[str, object]]:
    return [json.loads(line) for line in tw("keys", "list", "--json").lines]


def test_a_new_key_stands_alone_on_standard_output(tw: Twelvefold) -> None:
    done = tw("keys", "create", "ann's laptop")

    assert done.status == 0
    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}\n", done.out)
    assert "acts for ann's laptop, with runs and approve; the key is shown this once" in done.err
    assert done.out.strip() not in done.err


def test_a_key_is_what_it_was_asked_for(tw: Twelvefold) -> None:
    tw("keys", "create", "bot", "--principal", "ann", "--scope", "runs")

    (key,) = listed(tw)
    assert re.fullmatch(r"key_[0-9a-f]{16}", str(key["id"]))
    assert {"name": "bot", "principal": "ann", "scopes": ["runs"]}.items() <= key.items()
    assert key["revoked_at_us"] is None


def test_keys_are_listed_for_people_too(tw: Twelvefold) -> None:
    token = tw("keys", "create", "bot", "--principal", "ann").out.strip()

    done = tw("keys", "list")

    head, line = done.lines
    assert head.split()[:4] == ["ID", "NAME", "FOR", "SCOPES"]
    assert line.split()[1:5] == ["bot", "ann", "runs,", "approve"]
    assert token not in done.out


def test_a_revoked_key_says_since_when(tw: Twelvefold) -> None:
    tw("keys", "create", "bot")
    id = str(listed(tw)[0]["id"])

    done = tw("keys", "revoke", id)

    assert (done.status, done.out) == (0, f"{id} is revoked\n")
    assert listed(tw)[0]["revoked_at_us"] is not None
    assert tw("keys", "create", "bot").status == 0


def test_a_key_that_is_not_there_is_bad_usage(tw: Twelvefold) -> None:
    done = tw("keys", "revoke", "key_1")

    assert (done.status, done.err) == (2, "twelvefold: no key 'key_1'\n")


def test_a_name_that_is_taken_is_bad_usage(tw: Twelvefold) -> None:
    tw("keys", "create", "bot")

    done = tw("keys", "create", "bot")

    assert (done.status, done.out) == (2, "")
    assert "there is a key 'bot' already" in done.err


def test_the_help_says_what_a_scope_allows(tw: Twelvefold) -> None:
    done = tw("keys", "create", "--help")

    assert done.status == 0
    assert "answers the calls that wait for approval" in done.out
    assert tw("keys", "create", "bot", "--scope", "root").status == 2
