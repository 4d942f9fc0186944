"""`twelvefold keys`."""

import json
import re

import pytest

from tests.cli.conftest import Twelvefold

pytestmark = pytest.mark.usefixtures("shop")


def list_keys(tw: Twelvefold) -> list[dict[str, object]]:
    return [json.loads(line) for line in tw("keys", "list", "--json").lines]


def test_only_the_new_key_is_on_standard_output(tw: Twelvefold) -> None:
    done = tw("keys", "create", "ann's laptop")

    assert done.status == 0
    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}\n", done.out)
    scopes = "runs and approve and signal"
    assert f"acts for ann's laptop, with {scopes}; the key is not shown again" in done.err
    assert done.out.strip() not in done.err


def test_a_key_has_the_given_principal_and_scopes(tw: Twelvefold) -> None:
    tw("keys", "create", "bot", "--principal", "ann", "--scope", "runs")

    (key,) = list_keys(tw)
    assert re.fullmatch(r"key_[0-9a-f]{16}", str(key["id"]))
    assert {"name": "bot", "principal": "ann", "scopes": ["runs"]}.items() <= key.items()
    assert key["revoked_at_us"] is None


def test_keys_are_listed_as_a_table(tw: Twelvefold) -> None:
    token = tw("keys", "create", "bot", "--principal", "ann").out.strip()

    done = tw("keys", "list")

    head, line = done.lines
    assert head.split()[:4] == ["ID", "NAME", "PRINCIPAL", "SCOPES"]
    assert line.split()[1:6] == ["bot", "ann", "runs,", "approve,", "signal"]
    assert token not in done.out


def test_a_revoked_key_has_the_time(tw: Twelvefold) -> None:
    tw("keys", "create", "bot")
    id = str(list_keys(tw)[0]["id"])

    done = tw("keys", "revoke", id)

    assert (done.status, done.out) == (0, f"{id} is revoked\n")
    assert list_keys(tw)[0]["revoked_at_us"] is not None
    assert tw("keys", "create", "bot").status == 0


def test_an_unknown_key_is_bad_usage(tw: Twelvefold) -> None:
    done = tw("keys", "revoke", "key_1")

    assert (done.status, done.err) == (2, "twelvefold: no key 'key_1'\n")


def test_a_name_in_use_is_bad_usage(tw: Twelvefold) -> None:
    tw("keys", "create", "bot")

    done = tw("keys", "create", "bot")

    assert (done.status, done.out) == (2, "")
    assert "a key 'bot' exists" in done.err


def test_the_help_describes_the_scopes(tw: Twelvefold) -> None:
    done = tw("keys", "create", "--help")

    assert done.status == 0
    assert "answer requests for approval and the questions of tools" in done.out
    assert "send events to runs" in done.out
    assert tw("keys", "create", "bot", "--scope", "root").status == 2


def test_a_key_has_an_expiry_and_the_workflows_and_tools_that_it_allows(tw: Twelvefold) -> None:
    limits = ("--expires", "90d", "--workflow", "shop", "--tool", "buy", "--tool", "buy")

    assert tw("keys", "create", "bot", *limits).status == 0

    (key,) = list_keys(tw)
    assert (key["workflows"], key["tools"]) == (["shop"], ["buy"])
    assert key["expires_at_us"] == int(str(key["created_at_us"])) + 90 * 86_400_000_000
    assert "shop, buy" in tw("keys", "list").lines[1]


def test_a_key_for_an_unknown_workflow_is_bad_usage(tw: Twelvefold) -> None:
    done = tw("keys", "create", "bot", "--workflow", "spop")

    assert (done.status, done.out) == (2, "")
    assert "no workflow 'spop'; there are shop" in done.err


def test_only_the_new_secret_is_on_standard_output(tw: Twelvefold) -> None:
    old = tw("keys", "create", "bot").out

    done = tw("keys", "rotate", "bot", "--overlap", "1d")

    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}\n", done.out)
    assert done.out != old
    (key,) = list_keys(tw)
    assert f"{key['id']}: the secret before works until" in done.err
    assert key["old_secret_until_us"] is not None
    assert "is valid no longer" in tw("keys", "rotate", str(key["id"])).err


def test_an_unknown_key_is_not_rotated(tw: Twelvefold) -> None:
    done = tw("keys", "rotate", "bot")

    assert (done.status, done.err) == (2, "twelvefold: no key 'bot'\n")


def test_a_key_has_a_share_that_can_be_changed(tw: Twelvefold) -> None:
    share = ("--rate-per-minute", "60", "--max-runs", "4")
    assert tw("keys", "create", "bot", *share, "--priority", "5").status == 0
    (key,) = list_keys(tw)
    assert (key["rate_per_minute"], key["max_runs"], key["priority"]) == (60, 4, 5)

    done = tw("keys", "limit", "bot", "--max-runs", "8")

    shown = "as many requests a minute, 8 runs at once, priority 0 (as many: as the settings say)"
    assert (done.status, done.out) == (0, f"{key['id']} has {shown}\n")
    assert (list_keys(tw)[0]["rate_per_minute"], list_keys(tw)[0]["max_runs"]) == (None, 8)


@pytest.mark.parametrize(
    "share", [("--priority", "10"), ("--max-runs", "0"), ("--rate-per-minute", "x")]
)
def test_an_invalid_share_is_bad_usage(tw: Twelvefold, share: tuple[str, str]) -> None:
    assert tw("keys", "create", "bot", *share).status == 2


def test_a_long_list_of_keys_has_the_newest_and_a_hint(tw: Twelvefold) -> None:
    for name in ("one", "two", "three"):
        tw("keys", "create", name)

    done = tw("keys", "list", "--json", "--limit", "2")

    assert [json.loads(line)["name"] for line in done.lines] == ["two", "three"]
    assert "there are older keys; --limit N lists more" in done.err
    assert tw("keys", "list", "--limit", "3").err == ""
