"""`twelvefold runs follow`: a run as it proceeds in another process."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import asked, entries, finished, said
from tests.cli.conftest import ModelServer, Twelvefold, child_environ
from tests.services.model.mock_server import streams
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.cli.follow import Follower
from twelvefold.cli.main import CLOSED_PIPE
from twelvefold.cli.output import Style
from twelvefold.core.events import Entry
from twelvefold.core.ids import RunId, ThreadId
from twelvefold.core.ports import Delta, JournalDelta
from twelvefold.errors import StoreUnavailable
from twelvefold.services.store.sqlite.store import SQLiteStore

pytestmark = pytest.mark.usefixtures("shop")


def started(here: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "twelvefold", *arguments],
        env=child_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
    )


def test_a_run_that_has_ended_is_shown_as_a_whole(tw: Twelvefold) -> None:
    run = tw("run", "--json", 'call buy {"what": "pear"}').json["run"]

    done = tw("runs", "follow", run)

    assert (done.status, done.err) == (0, "")
    assert done.lines[-4:] == [
        '> call buy {"what": "pear"}',
        '→ buy {"what": "pear"}',
        "  bought pear",
        "result: bought pear",
    ]


def test_a_run_that_failed_is_a_failure(tw: Twelvefold, shop: ModelServer) -> None:
    shop.will(streams(responses_events(FakeReply(""))))
    run = tw("run", "--json", "hello").json["run"]

    assert tw("runs", "follow", run).status == 1


class Reads:
    """A store whose reads of the journal have these results, one after the other."""

    def __init__(self, *found: tuple[Sequence[Delta], Sequence[Entry]]) -> None:
        self._found = list(found)
        self.asked: list[tuple[int, tuple[int, int]]] = []

    async def run(self, run: RunId) -> Any:
        return SimpleNamespace(status="running")

    async def follow(
        self, thread: ThreadId, *, after: int, deltas_after: tuple[int, int]
    ) -> JournalDelta:
        self.asked.append((after, deltas_after))
        deltas, entries = self._found.pop(0)
        return JournalDelta(tuple(deltas), tuple(entries))


def piece(number: int, text: str, position: int = 2) -> Delta:
    return Delta(position, number, "text", text)


START, REPLY, END = entries(asked("hello"), said("one two three"), finished())
LATER = Entry(4, 2, said("another run"), 1)
RUN = RunId(ThreadId("0" * 44), 1)
RESTARTED = Delta(2, 2, "restarted")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            [([], [START]), ([piece(1, "one ")], []), ([piece(2, "two three")], [REPLY, END])],
            "one two three\n",
        ),
        # Pieces that were removed before they were read.
        ([([piece(1, "one ")], [START]), ([], [REPLY, END])], "one two three\n"),
        ([([], [START, REPLY, END])], "one two three\n"),
        (
            [
                ([piece(1, "four")], [START]),
                ([RESTARTED, piece(3, "one two three")], []),
                ([], [REPLY, END]),
            ],
            "four\n(requesting the reply again: the connection to the model was lost)\n"
            "one two three\n",
        ),
        (
            [([piece(1, "four")], [START]), ([], [REPLY, END])],
            "four\n(requesting the reply again: the reply is another one)\none two three\n",
        ),
        # Pieces and entries of another run of the conversation.
        (
            [([piece(1, "else", position=1)], [START, REPLY, END, LATER])],
            "one two three\n",
        ),
    ],
)
async def test_text_is_written_once_however_it_arrives(
    found: list[tuple[Sequence[Delta], Sequence[Entry]]], expected: str
) -> None:
    written: list[str] = []
    store = Reads(*found)
    services: Any = SimpleNamespace(store=store)

    def write(text: str, style: Style = "") -> None:
        written.append(text)

    follower = Follower(services, RUN, write)

    for _ in found:
        await follower.read()

    assert "".join(written) == f"\n> hello\n{expected}"
    assert follower.status == "completed"
    assert store.asked[0] == (0, (0, 0))


def test_a_run_that_waits_is_followed_until_it_has_ended(tw: Twelvefold, here: Path) -> None:
    run = tw("run", "--json", 'call pay {"cents": 3}').json["run"]
    follower = started(here, "runs", "follow", run)
    assert follower.stderr is not None
    assert "waiting for approval of pay" in follower.stderr.readline()

    tw("runs", "approve", run, "--call", "2.0")

    output, notices = follower.communicate(timeout=240)
    assert "approved by local" in output
    assert output.endswith("result: paid 3\n")
    assert (follower.returncode, notices) == (0, "")


@pytest.mark.parametrize("command", [("follow",), ("events", "--follow")])
def test_a_command_ends_with_the_reader_of_its_output(
    tw: Twelvefold, here: Path, command: Sequence[str]
) -> None:
    run = tw("run", "--json", 'call pay {"cents": 3}').json["run"]
    name, *options = command
    follower = started(here, "runs", name, run, *options)
    assert follower.stdout is not None
    assert follower.stderr is not None
    follower.stdout.readline()

    follower.stdout.close()  # as `head -1` does

    assert follower.wait(timeout=240) == CLOSED_PIPE
    assert "Traceback" not in follower.stderr.read()
    follower.stderr.close()


def test_an_outage_of_the_database_is_outlasted(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tw("run", "--json", "hello").json["run"]
    outages, follow = 2, SQLiteStore.follow

    async def flaky(self: SQLiteStore, *arguments: Any, **options: Any) -> JournalDelta:
        nonlocal outages
        outages -= 1
        if outages >= 0:
            raise StoreUnavailable("the database cannot be reached")
        return await follow(self, *arguments, **options)

    monkeypatch.setattr(SQLiteStore, "follow", flaky)

    done = tw("runs", "follow", run)

    assert (done.status, done.lines[-1]) == (0, "said: hello")
    assert done.err == "twelvefold: the database cannot be reached; trying again\n"


def test_ctrl_c_ends_the_command_and_not_the_run(tw: Twelvefold, here: Path) -> None:
    run = tw("run", "--json", 'call pay {"cents": 3}').json["run"]
    follower = started(here, "runs", "follow", run)
    assert follower.stderr is not None
    follower.stderr.readline()

    os.kill(follower.pid, signal.SIGINT)

    output, notices = follower.communicate(timeout=240)
    assert (follower.returncode, notices) == (130, "")
    assert "Traceback" not in output
    assert tw("runs", "list", "--json").json["status"] == "waiting"
