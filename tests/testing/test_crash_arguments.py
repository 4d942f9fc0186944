"""Wrong arguments of a crash test are errors before a process starts."""

from typing import Any

import pytest

from tests.testing.planted import board, hotel
from twelvefold.testing import TestApp, call, crash_matrix, outage, temporary_database
from twelvefold.testing.crash.drive import ReplayedScript

VALID: dict[str, Any] = {"workflow": hotel, "input": "A key, please", "replies": ["Done."]}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"workflow": None}, "workflow is None; pass a workflow, its path as in shop:workflow, or"),
        ({"workflow": []}, r"workflow is \[\]; pass a workflow"),
        ({"workflow": [5]}, r"workflow is \[5\]; pass a workflow"),
        ({"workflow": ""}, "workflow is ''; pass a workflow"),
        ({"workflow": ":workflow"}, "workflow is ':workflow'; pass a workflow"),
        ({"input": " "}, "input is ' '; pass the text of a message"),
        ({"input": 5}, "input is 5; pass the text of a message"),
        ({"principal": ""}, "principal is ''; use 1 to 255 printable characters"),
        ({"replies": "Done."}, "replies is 'Done.'; pass a list of replies, or lists by the names"),
        ({"replies": call("make_key")}, r"replies is ScriptedCall\(.*; pass a list of replies"),
        ({"replies": {"hotel": "Done."}}, "replies is .*; pass a list of replies"),
        ({"replies": {5: ["Done."]}}, "replies is .*; pass a list of replies"),
        ({"replies": ["Done.", 5]}, "replies has 5: a scripted reply has texts and calls, not int"),
        ({"replies": [lambda _: "Done."]}, "replies has <function .*: a scripted reply has texts"),
        ({"replies": [outage()]}, "replies has ModelUnavailable.*: a scripted reply has texts"),
        ({"answers": {"paid": lambda: 1}}, "another process cannot get the arguments: "),
        ({"settings": ["lease_s"]}, r"settings is \['lease_s'\]; pass fields of Settings by name"),
        ({"settings": {"leases": 5}}, "settings has 'leases', which no crash test can set"),
        ({"settings": {"database_url": "sqlite://"}}, "settings has 'database_url', which no cr"),
        ({"database": "postgres://me:secret@db/x"}, "database is a URL with 'postgres'; pass the"),
        ({"database": None}, "database is NoneType; pass the URL of a MySQL or MariaDB server"),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}") as raised:
        crash_matrix(**{**VALID, **given})

    assert "secret" not in str(raised.value)


def test_replies_are_for_workflows_of_the_test() -> None:
    with pytest.raises(ValueError, match="replies are for 'motel'; there are hotel, board"):
        ReplayedScript({"hotel": ["Done."], "motel": ["Done."]}, [hotel, board])


async def test_an_app_of_a_test_is_on_a_server_or_on_sqlite() -> None:
    for opening in (TestApp([hotel], database="oracle://db"), temporary_database(server="pg://x")):
        with pytest.raises(ValueError, match="pass the URL of a MySQL or MariaDB server, or none"):
            async with opening:
                pass
