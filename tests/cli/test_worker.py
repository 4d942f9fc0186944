"""`twelvefold worker` as a process."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ModelServer, Twelvefold, child_environ
from tests.cli.outbox_store import send_mail, stored_messages, with_store
from tests.smtp_sink import Sink
from twelvefold.core.ports import Store


@contextmanager
def start(here: Path, command: str = "worker", **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a process, and kill it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", command],
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
        fields: dict[str, Any] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"the worker ended without {event}: {process.stderr}")


@pytest.mark.usefixtures("shop")
def test_a_worker_drives_queued_runs_and_stops_at_sigterm(here: Path, tw: Twelvefold) -> None:
    tw("run", 'call pay {"cents": 3}')
    run = tw("runs", "list", "--json").json["run"]
    assert tw("runs", "approve", run, "--call", "2.0", "--detach").status == 0

    with start(here) as process:
        rested = wait_for("run_rested", process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=240)

    assert (rested["run"], rested["status"]) == (run, "completed")
    assert (process.returncode, err) == (0, "")
    assert [json.loads(line)["event"] for line in out.splitlines()][-2:] == [
        "worker_stopping",
        "worker_stopped",
    ]


FATAL = """
import os, signal
from twelvefold import Transaction, Workflow, tool

@tool
async def buy(tx: Transaction, what: str) -> str:
    "Buy something."
    os.kill(os.getpid(), signal.SIGKILL)

workflow = Workflow("shop", "You sell things.", (buy,))
"""


@pytest.mark.usefixtures("shop")
def test_a_run_that_kills_its_process_fails_after_max_attempts(here: Path, tw: Twelvefold) -> None:
    (here / "shop.py").write_text(FATAL)
    _queue_run('call buy {"what": "tea"}')
    exit_codes: list[int] = []

    for _ in range(3):
        with start(here, LEASE_S="1", MAX_ATTEMPTS="2") as process:
            fields = wait_for("run_taken_up", process)
            if len(exit_codes) == 2:
                fields = wait_for("run_rested", process)
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=240)
        exit_codes.append(process.returncode)

    assert exit_codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert fields["status"] == "failed"
    run = tw("runs", "list", "--json").json
    assert run["error"] == "2 attempts at this step ended without a result"


@pytest.mark.usefixtures("shop")
def test_a_second_signal_ends_a_worker_at_once(here: Path, shop: ModelServer) -> None:
    async def never(call: Any) -> None:
        await asyncio.Event().wait()

    shop.will(never)
    with start(here, GRACE_S="3600") as process:
        wait_for("worker_started", process)
        _queue_run()
        wait_for("run_taken_up", process)
        process.send_signal(signal.SIGTERM)
        wait_for("worker_stopping", process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=240)

    assert process.returncode == -signal.SIGTERM


def _queue_run(text: str = "hi") -> None:
    from twelvefold.core.events import RunStarted
    from twelvefold.core.ids import LeaseToken, RunId, ThreadId
    from twelvefold.core.ports import NewRun

    async def work(store: Store) -> None:
        new = NewRun(RunId(ThreadId("4" * 44), 1), LeaseToken("t"), 0, "you", "shop", "1", True)
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await store.start(new, RunStarted((item,), "you", "shop", "1"), None)

    asyncio.run(with_store(work))


@pytest.mark.usefixtures("shop")
def test_a_worker_sends_mail_that_is_due(here: Path) -> None:
    send_mail("ann", "bob")

    async def send_all() -> Sink:
        async with Sink().serving() as sink:
            with start(here, SMTP_URL=sink.url(), MAIL_FROM="shop@example.org") as process:
                while len(sink.mails) < 2:
                    await asyncio.sleep(0.02)
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.communicate, timeout=240)
        return sink

    sink = asyncio.run(send_all())

    assert {one.recipient for one in sink.mails} == {"ann@example.org", "bob@example.org"}
    assert {one.id for one in sink.mails} == {
        f"<twelvefold.{one.id}@example.org>" for one in stored_messages() if one.sent_at_us
    }


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"SMTP_URL": "smtp://mail"}, "MAIL_FROM: is not set, though SMTP_URL is"),
        ({"SMTP_URL": "smtp://mail?tls=1", "MAIL_FROM": "a@b.org"}, "SMTP_URL: after the port"),
    ],
)
def test_a_worker_with_wrong_mail_settings_does_not_start(
    tw: Twelvefold, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], message: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    done = tw("worker")

    assert done.status == 2
    assert message in done.err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", ["worker", "web"])
def test_a_signal_stops_a_process_that_waits_for_the_database(here: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"
        with start(here, command, DATABASE_URL=url) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                out, _ = process.communicate(timeout=240)

    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "signal"
