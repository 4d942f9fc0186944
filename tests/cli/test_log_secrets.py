"""No log has an argument, prompt, reply, address, key or password."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.database import empty_database
from tests.cli.conftest import ModelServer, child, child_environ, follow_rules
from tests.services.model.mock_server import Call, refuses
from tests.smtp_sink import Sink

CANARY = "canary"
TOOLS = '''
"""Tools that fail in every way, with their arguments in the messages."""

import asyncio
import gc
import logging
import threading
import warnings

from twelvefold import Transaction, Workflow, tool


def fail(what):
    raise ValueError(f"no {what}")


class Unraisable:
    def __init__(self, what):
        self.what = what

    def __del__(self):
        fail(self.what)


@tool(effect="pure")
async def raises(what: str) -> str:
    """Raise."""
    fail(what)


@tool(effect="pure")
def raises_in_a_thread(what: str) -> str:
    """Raise in a thread."""
    fail(what)


@tool(effect="unsafe")
async def chained(what: str) -> str:
    """Raise with a cause and a note."""
    try:
        fail(what)
    except ValueError as error:
        error.add_note(what)
        raise RuntimeError(what) from error


@tool(effect="pure")
async def grouped(what: str) -> str:
    """Raise a group."""
    raise ExceptionGroup(what, [ValueError(what)])


async def fails_later(what):
    fail(what)


@tool(effect="pure")
async def exits(what: str) -> str:
    """Exit."""
    raise SystemExit(what)


@tool
async def duplicates(tx: Transaction, what: str) -> str:
    """Insert a row twice."""
    for _ in range(2):
        await tx.execute("insert into bought (what) values (:what)", what=what)


@tool
async def misspells(tx: Transaction, what: str) -> str:
    """Send an invalid statement."""
    await tx.execute(f"selekt '{what}'")


@tool
async def overflows(tx: Transaction, what: str) -> str:
    """Insert a value that is too long."""
    await tx.execute("insert into bought (what, many) values ('x', :what)", what=what * 99)


@tool
async def mails(tx: Transaction, what: str) -> str:
    """Send a mail."""
    await tx.send_mail(f"{what}@example.org", what, what)
    return "sent"


@tool(effect="pure")
async def fails_outside(what: str) -> str:
    """Start tasks, threads and callbacks that fail outside of the call."""
    asyncio.create_task(fails_later(what), name=what)
    asyncio.get_running_loop().call_soon(fail, what)
    thread = threading.Thread(target=fail, args=(what,), name=what)
    thread.start()
    Unraisable(what)
    warnings.warn(what)
    await asyncio.sleep(0.01)
    gc.collect()
    return "started"


@tool(effect="pure")
async def uses_libraries(what: str) -> str:
    """Log through libraries."""
    logging.getLogger("httpx").info("GET https://a.example/?q=%s", what)
    logging.getLogger("sqlalchemy.engine.Engine").debug("[%s]", what)
    try:
        fail(what)
    except ValueError as error:
        logging.getLogger("urllib3").error("it failed: %s", error, exc_info=True)
    return "used"


@tool(effect="pure")
async def returns(what: str) -> object:
    """Return a value that cannot be encoded."""

    class Unreadable(dict):
        def items(self):
            fail(what)

    return Unreadable(a=1)


TOOLS = (raises, raises_in_a_thread, chained, grouped, exits, duplicates, misspells, overflows)
TOOLS += (mails, fails_outside, uses_libraries, returns)
workflow = Workflow(
    "shop",
    "You sell things.",
    TOOLS,
    schema="create table if not exists bought (what varchar(80) primary key, many int);",
)
'''
NAMES = re.findall(r"^(?:async )?def (\w+)\((?:tx: Transaction, )?what: str\)", TOOLS, re.M)


class QuotingModel:
    """A model that calls the tools, and whose errors quote the prompt."""

    def __init__(self) -> None:
        self._busy = 0

    async def __call__(self, call: Call) -> None:
        last = str(call.body["input"][-1])
        quoted = {"message": f"what is {last}?", "param": CANARY, "code": CANARY}
        if "reject" in last:
            await refuses(400, quoted)(call)
        elif "forbid" in last:
            await refuses(401, quoted)(call)
        elif "busy" in last and not self._busy:
            self._busy += 1
            await refuses(503, quoted, headers={"retry-after": "0"})(call)
        elif "malformed" in last:
            await refuses(400, f"{CANARY} {last}")(call)
        else:
            await follow_rules(call)


@contextmanager
def mail_server() -> Iterator[Sink]:
    """A mail server with a login that rejects each recipient with a message that quotes it."""
    sink = Sink(login=(f"{CANARY}-user", f"{CANARY}-password"))
    sink.answers = {"RCPT": f"550 5.1.1 <{CANARY}@example.org> is not known here"}
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with sink.serving():
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def post(port: int, key: str, path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1{path}",
        json.dumps(body).encode() if body is not None else None,
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=240) as answer:  # noqa: S310 - the test's server
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def turns() -> Iterator[str]:
    what = json.dumps({"what": f"{CANARY}-argument"})
    yield from (f"call {name} {what}" for name in NAMES)
    yield f'call raises {{"what": 5, "{CANARY}": 1}}'
    yield f'call {CANARY} {{"what": "{CANARY}"}}'
    yield f"call raises {CANARY}"
    yield from (f"{word} {CANARY}-prompt" for word in ("reject", "busy", "malformed", "say"))


def malformed_requests(port: int) -> None:
    for sent in (
        f"GET /{CANARY}\0 HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: x\r\n{CANARY} x\r\n\r\n",
        f"{CANARY}\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent.encode())
            client.recv(1_000)


@pytest.mark.mysql
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "format", "level"),
    [
        ("server", "json", "debug"),
        pytest.param("sqlite", "text", "debug", marks=pytest.mark.slow),
        pytest.param("sqlite", "json", "info", marks=pytest.mark.slow),
    ],
)
def test_logs_have_no_secrets(
    here: Path, model: ModelServer, kind: str, format: str, level: str
) -> None:
    (here / "shop.py").write_text(TOOLS)
    model.will(QuotingModel())
    with mail_server() as sink, empty_database(kind, here) as url:
        environ = {
            "DATABASE_URL": url,
            "WORKFLOWS": "shop:workflow",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": f"sk-{CANARY}-key",
            "SMTP_URL": sink.url("?starttls=off", login=f"{CANARY}-user:{CANARY}-password"),
            "MAIL_FROM": "shop@example.org",
            "LOG_LEVEL": level,
            "LOG_FORMAT": format,
            "NO_COLOR": "1",
        }
        assert child(here, "migrate", **environ).status == 0
        key = child(here, "keys", "create", "ann", **environ).out.strip()

        logged, journal = _run_turns(here, environ, key)
        ran = child(here, "run", f'call raises {{"what": "{CANARY}"}}', **environ)

    lines = [line for line in ran.err.splitlines() if not line.startswith("twelvefold: ")]
    logged += "\n".join(lines)
    assert [line for line in logged.splitlines() if CANARY in line.lower()] == []
    assert key not in logged
    assert CANARY in journal  # the journal has the messages of exceptions
    for event in (
        *("tool_raised", "mail_dead", "model_request_retried", "request_malformed"),
        *("thread_failed", "ignored_exception", "python_warning"),
        *("Task exception was never retrieved", "Exception in callback", "it failed: ValueError"),
    ):
        assert event in logged, event


@contextmanager
def process(here: Path, environ: dict[str, str], command: str) -> Iterator[Path]:
    """Run a process and yield the file of its output; stop the process at the end."""
    log = here / f"{command}.log"
    with log.open("wb") as out:
        arguments = [sys.executable, "-m", "twelvefold", command]
        running = subprocess.Popen(
            arguments, env=child_environ(**environ), cwd=here, stdout=out, stderr=out
        )
    try:
        yield log
        running.terminate()
        assert running.wait(timeout=240) == 0
    finally:
        running.kill()
        running.wait()


def _run_turns(here: Path, environ: dict[str, str], key: str) -> tuple[str, str]:
    """Return the logs of web and worker after all turns, and the journals of their runs."""
    web = process(here, {**environ, "PORT": "0"}, "web")
    with web as web_log, process(here, environ, "worker") as worker_log:
        port = _listening_port(web_log)
        ask = partial(post, port, key)
        responses = [ask("/responses", _turn(text)) for text in turns()]
        responses += [ask("/responses", _turn(text, background=True)) for text in turns()]
        ask(f"/responses/resp_{CANARY[:1]}?starting_after={CANARY}", None)
        post(port, f"tw_{CANARY * 7}", "/responses", _turn(CANARY))
        malformed_requests(port)
        for one in responses:
            while ask(f"/responses/{one['id']}", None)["status"] in ("queued", "in_progress"):
                time.sleep(0.05)
        ask("/responses", _turn(f"forbid {CANARY}", background=True))
        while not _are_logged(web_log, worker_log):
            time.sleep(0.05)
        journals = [
            ask(f"/conversations/conv_{one['id'][5:49]}/journal", None) for one in responses
        ]
    return web_log.read_text() + worker_log.read_text(), json.dumps(journals)


def _listening_port(log: Path) -> int:
    """Wait until the server listens and return its port."""
    while not (found := re.search(r"web_ready.*127\.0\.0\.1:(\d+)", log.read_text())):
        time.sleep(0.05)
    return int(found[1])


def _are_logged(*logs: Path) -> bool:
    """Return whether the two dead mails and the rejected key are in either log."""
    both = "".join(log.read_text() for log in logs)
    return both.count("mail_dead") >= 2 and "OPENAI_API_KEY is refused" in both


def _turn(text: str, **more: object) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    return {"model": "shop", "input": [{"role": "user", "content": content}], **more}
