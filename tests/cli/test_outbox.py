"""`twelvefold outbox`."""

import pytest

from tests.cli.conftest import Twelvefold
from tests.cli.outbox_store import fail_delivery, send_mail, stored_messages


@pytest.mark.usefixtures("shop")
def test_messages_are_listed_without_their_text(tw: Twelvefold) -> None:
    send_mail("ann", "bob")

    done = tw("outbox", "list")

    assert done.status == 0
    assert done.lines[0].split()[:5] == ["ID", "STATE", "TO", "SUBJECT", "ATTEMPTS"]
    rows = sorted(line.split()[1:6] for line in done.lines[1:])
    assert rows == [
        ["waiting", "ann@example.org", "Welcome", "ann", "0"],
        ["waiting", "bob@example.org", "Welcome", "bob", "0"],
    ]
    assert "secret words" not in done.out + tw("outbox", "list", "--json").out


@pytest.mark.usefixtures("shop")
def test_messages_are_listed_by_state(tw: Twelvefold) -> None:
    send_mail("ann")
    fail_delivery("550 no such user", None)

    done = tw("outbox", "list", "--state", "dead", "--json")

    assert done.json | {"id": "", "due_at_us": 0, "dead_at_us": 0} == {
        "id": "",
        "state": "dead",
        "kind": "mail",
        "thread": "",
        "to": "ann@example.org",
        "subject": "Welcome ann",
        "attempts": 1,
        "due_at_us": 0,
        "sent_at_us": None,
        "dead_at_us": 0,
        "error": "550 no such user",
    }
    assert tw("outbox", "list", "--state", "waiting", "--json").out == ""
    assert tw("outbox", "list", "--state", "sent", "--json").out == ""


@pytest.mark.usefixtures("shop")
def test_a_dead_message_can_be_retried(tw: Twelvefold) -> None:
    send_mail("ann")
    fail_delivery("550 no such user", None)
    (message,) = stored_messages()

    done = tw("outbox", "retry", message.id)

    assert (done.status, done.lines[0]) == (0, f"{message.id} is due now")
    assert stored_messages()[0].dead_at_us is None


@pytest.mark.usefixtures("shop")
def test_all_dead_messages_can_be_retried(tw: Twelvefold) -> None:
    send_mail("ann")
    fail_delivery("550 no such user", None)

    done = tw("outbox", "retry", "--dead")

    assert (done.status, done.lines[0]) == (0, "1 dead messages are due now")
    assert stored_messages()[0].dead_at_us is None
    assert tw("outbox", "retry", "--dead").lines[0] == "0 dead messages are due now"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("arguments", [[], ["--dead", "1"]])
def test_retry_needs_either_ids_or_all_dead_messages(tw: Twelvefold, arguments: list[str]) -> None:
    assert tw("outbox", "retry", *arguments).status == 2


@pytest.mark.usefixtures("shop")
def test_an_unknown_message_is_an_error(tw: Twelvefold) -> None:
    done = tw("outbox", "retry", "nope")

    assert (done.status, done.out) == (2, "")
    assert "no message 'nope'" in done.err
