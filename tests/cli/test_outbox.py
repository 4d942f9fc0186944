"""`twelvefold outbox` as it is typed, and `twelvefold worker` as it is started and ended."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ModelServer, Twelvefold, child_environ
from tests.smtp_sink import Sink
from twelvefold.core.ports import OutboxMessage, Store
from twelvefold.services.store import open_store

URL = "sqlite:///twelvefold.db"


async def _with_store(work: Any) -> Any:
    store = await open_store(URL)
    try:
        return await work(store)
    finally:
        await store.close()


def post(*names: str) -> None:
    async def work(store: Store) -> None:
        async with store.write() as tx:
            for name in names:
                await tx.send_mail(f"{name}@example.org", f"Welcome {name}", "secret words")

    asyncio.run(_with_store(work))


def letters() -> list[OutboxMessage]:
    async def work(store: Store) -> list[OutboxMessage]:
        return await store.messages(limit=100)

    found: list[OutboxMessage] = asyncio.run(_with_store(work))
    return found


def fail(error: str, retry_s: float | None) -> None:
    """The only letter has been tried once."""

    async def work(store: Store) -> None:
        (letter,) = await store.due_messages(1)
        assert await store.claim_message(letter, 60)
        await store.message_failed(letter, error, retry_s)

    asyncio.run(_with_store(work))


@pytest.mark.usefixtures("shop")
def test_letters_are_listed_without_what_they_say(tw: Twelvefold) -> None:
    post("ann", "bob")

    done = tw("outbox", "list")

    assert done.status == 0
    assert done.lines[0].split()[:5] == ["ID", "STATE", "TO", "SUBJECT", "TRIED"]
    rows = sorted(line.split()[1:6] for line in done.lines[1:])
    assert rows == [
        ["waiting", "ann@example.org", "Welcome", "ann", "0"],
        ["waiting", "bob@example.org", "Welcome", "bob", "0"],
    ]
    assert "secret words" not in done.out + tw("outbox", "list", "--json").out


@pytest.mark.usefixtures("shop")
def test_letters_are_listed_by_their_state(tw: Twelvefold) -> None:
    post("ann")
    fail("550 no such user", None)

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
def test_a_dead_letter_may_be_sent_again(tw: Twelvefold) -> None:
    post("ann")
    fail("550 no such user", None)
    (letter,) = letters()

    done = tw("outbox", "retry", letter.id)

    assert (done.status, done.lines[0]) == (0, f"{letter.id} is due now")
    assert letters()[0].dead_at_us is None


@pytest.mark.usefixtures("shop")
def test_all_dead_letters_may_be_sent_again(tw: Twelvefold) -> None:
    post("ann")
    fail("550 no such user", None)

    done = tw("outbox", "retry", "--dead")

    assert (done.status, done.lines[0]) == (0, "1 dead letters are due now")
    assert letters()[0].dead_at_us is None
    assert tw("outbox", "retry", "--dead").lines[0] == "0 dead letters are due now"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("arguments", [[], ["--dead", "1"]])
def test_letters_to_try_again_are_named_or_all_that_are_dead(
    tw: Twelvefold, arguments: list[str]
) -> None:
    assert tw("outbox", "retry", *arguments).status == 2


@pytest.mark.usefixtures("shop")
def test_a_letter_that_is_not_there_is_told(tw: Twelvefold) -> None:
    done = tw("outbox", "retry", "nope")

    assert (done.status, done.out) == (2, "")
    assert "no message 'nope'" in done.err


@contextmanager
def worker(here: Path, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "worker"],
        env=child_environ(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=here,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(event: str, process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"the worker ended without {event}: {process.stderr}")


@pytest.mark.usefixtures("shop")
def test_a_worker_drives_what_was_left_and_ends_on_sigterm(here: Path, tw: Twelvefold) -> None:
    tw("run", 'call pay {"cents": 3}')
    run = tw("runs", "list", "--json").json["run"]
    assert tw("runs", "approve", run, "--call", "2.0", "--detach").status == 0

    with worker(here) as process:
        rested = wait_for("run_rested", process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)

    assert (rested["run"], rested["status"]) == (run, "completed")
    assert (process.returncode, err) == (0, "")
    assert [json.loads(line)["event"] for line in out.splitlines()][-2:] == [
        "worker_stopping",
        "worker_stopped",
    ]


DEADLY = """
import os, signal
from twelvefold import Transaction, Workflow, tool

@tool
async def buy(tx: Transaction, what: str) -> str:
    "Buy something."
    os.kill(os.getpid(), signal.SIGKILL)

workflow = Workflow("shop", "You sell things.", (buy,))
"""


@pytest.mark.usefixtures("shop")
def test_a_run_that_ends_each_process_fails_after_so_many(here: Path, tw: Twelvefold) -> None:
    (here / "shop.py").write_text(DEADLY)
    _queue_a_run('call buy {"what": "tea"}')
    ended: list[int] = []

    for _ in range(3):
        with worker(here, LEASE_S="1", MAX_ATTEMPTS="2") as process:
            told = wait_for("run_taken_up", process)
            if len(ended) == 2:
                told = wait_for("run_rested", process)
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
        ended.append(process.returncode)

    assert ended == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert told["status"] == "failed"
    run = tw("runs", "list", "--json").json
    assert run["error"] == "2 attempts at this step ended without a result"


@pytest.mark.usefixtures("shop")
def test_a_second_signal_ends_a_worker_at_once(here: Path, shop: ModelServer) -> None:
    async def never(call: Any) -> None:
        await asyncio.sleep(60)

    shop.will(never)
    with worker(here) as process:
        wait_for("worker_started", process)
        _queue_a_run()
        wait_for("run_taken_up", process)
        process.send_signal(signal.SIGTERM)
        wait_for("worker_stopping", process)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)

    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 2


def _queue_a_run(text: str = "hi") -> None:
    from twelvefold.core.events import RunStarted
    from twelvefold.core.ids import LeaseToken, RunId, ThreadId
    from twelvefold.core.ports import NewRun

    async def work(store: Store) -> None:
        new = NewRun(RunId(ThreadId("4" * 44), 1), LeaseToken("t"), 0, "you", "shop", "1", True)
        content = [{"type": "input_text", "text": text}]
        said = {"type": "message", "role": "user", "content": content}
        await store.start(new, RunStarted((said,), "you", "shop", "1"), None)

    asyncio.run(_with_store(work))


@pytest.mark.usefixtures("shop")
def test_a_worker_sends_what_is_due(here: Path) -> None:
    post("ann", "bob")

    async def work() -> Sink:
        async with Sink().serving() as sink:
            with worker(here, SMTP_URL=sink.url(), MAIL_FROM="shop@example.org") as process:
                async with asyncio.timeout(20):
                    while len(sink.mails) < 2:
                        await asyncio.sleep(0.02)
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.communicate, timeout=10)
        return sink

    sink = asyncio.run(work())

    assert {one.recipient for one in sink.mails} == {"ann@example.org", "bob@example.org"}
    assert {one.id for one in sink.mails} == {
        f"<twelvefold.{letter.id}@example.org>" for letter in letters() if letter.sent_at_us
    }


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"SMTP_URL": "smtp://mail"}, "MAIL_FROM: is not set, though SMTP_URL is"),
        ({"SMTP_URL": "smtp://mail?tls=1", "MAIL_FROM": "a@b.org"}, "SMTP_URL: after the port"),
    ],
)
def test_a_worker_that_could_send_no_mail_does_not_start(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], said: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    done = tw("worker")

    assert done.status == 2
    assert said in done.err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", ["worker", "web"])
def test_a_signal_is_heard_while_the_database_is_waited_for(here: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "twelvefold", command],
            env=child_environ(DATABASE_URL=f"mysql://a:b@127.0.0.1:{port}/c"),
            stdout=subprocess.PIPE,
            cwd=here,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=5)

    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "signal"
