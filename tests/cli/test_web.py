"""`twelvefold web` as a process: its address, its log, and its end after signals."""

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import (
    ModelServer,
    Result,
    Twelvefold,
    child,
    child_environ,
    follow_rules,
)
from tests.services.model.mock_server import Call


class Web:
    """A running server; `lines` are its log lines so far."""

    def __init__(self, here: Path, *, files: int | None = None, **environ: str) -> None:
        self.lines: list[dict[str, Any]] = []
        limited = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(files)] if files else []
        self.process = subprocess.Popen(
            [*limited, sys.executable, "-m", "twelvefold", "web"],
            env=child_environ(PORT="0", **environ),
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address: str = self.wait_for("web_ready")["address"]
        self.port = int(self.address.rpartition(":")[2])

    def wait_for(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"no {event}: {self.lines} {self.process.communicate()}")

    def get(self, path: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=240) as answer:
            return json.load(answer)

    def end(self) -> Result:
        out, err = self.process.communicate(timeout=240)
        # A tool of the test prints too.
        self.lines += (json.loads(line) for line in out.splitlines() if line.startswith("{"))
        return Result(self.process.returncode, out, err)


@contextmanager
def serving(here: Path, *, files: int | None = None, **environ: str) -> Iterator[Web]:
    web = Web(here, files=files, **environ)
    try:
        yield web
    finally:
        web.process.kill()
        web.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_serves_until_a_signal_and_ends_with_0(here: Path, number: signal.Signals) -> None:
    with serving(here, RELEASE_ID="r-7") as web:
        assert web.get("/readyz")["status"] == "ready"
        assert web.get("/version")["release"] == "r-7"
        web.process.send_signal(number)
        done = web.end()

    assert (done.status, done.err) == (0, "")
    assert web.lines[-1]["event"] == "web_stopped"
    assert all(line["release"] == "r-7" for line in web.lines)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", web.address)


def test_a_second_signal_ends_web_at_once(here: Path) -> None:
    with (
        serving(here, GRACE_S="3600") as web,
        socket.create_connection(("127.0.0.1", web.port)) as client,
    ):
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b"content-type: application/json\r\ncontent-length: 10\r\n")
        client.sendall(b"expect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # it waits for the body
        web.process.terminate()
        web.wait_for("web_stopping")
        web.process.terminate()

        assert web.end().status == -signal.SIGTERM


@contextmanager
def post(web: Web, text: str, **more: Any) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield the response when its headers have arrived."""
    items = [{"role": "user", "content": [{"type": "input_text", "text": text}]}]
    body = json.dumps({"model": "shop", "input": items, **more})
    headers = {"content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=240)) as client:
        client.request("POST", "/v1/responses", body, headers)
        yield client.getresponse()


def list_runs(tw: Twelvefold) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tw("runs", "list", "--json").lines]


def test_after_a_signal_the_current_step_of_a_run_finishes(
    here: Path, shop: ModelServer, tw: Twelvefold
) -> None:
    async def terminate_meanwhile(call: Call) -> None:
        web.process.terminate()
        await asyncio.sleep(0.5)
        await follow_rules(call)

    shop.will(terminate_meanwhile)
    with serving(here) as web:
        with post(web, "hello") as answer:
            response = json.load(answer)
        done = web.end()

    assert (answer.status, response["status"]) == (200, "completed")
    assert response["output"][0]["content"][0]["text"] == "said: hello"
    assert (done.status, done.err) == (0, "")
    assert [run["status"] for run in list_runs(tw)] == ["completed"]


def test_a_signal_ends_a_stream_at_an_event_and_releases_the_run(
    here: Path, shop: ModelServer, tw: Twelvefold
) -> None:
    with serving(here, GRACE_S="0.2") as web:
        with post(web, 'call shout {"what": "hi"}', stream=True) as answer:
            while b"response.mcp_call.in_progress" not in answer.readline():
                pass
            web.process.terminate()
            rest = answer.read()
        done = web.end()

    assert rest.endswith(b"\n\n")
    assert (done.status, done.err) == (0, "")
    (run,) = list_runs(tw)
    assert (run["status"], run["leased"]) == ("queued", False)


def test_listening_on_all_addresses_requires_a_key(here: Path) -> None:
    done = child(here, "web", HOST="0.0.0.0", PORT="0")  # noqa: S104 - it refuses

    assert done.status == 2
    assert "twelvefold: HOST: '0.0.0.0' can be reached from elsewhere" in done.err


def test_a_port_in_use_is_an_error_message(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = child(here, "web", PORT=str(taken.getsockname()[1]))

    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("twelvefold: HOST, PORT: cannot listen at 127.0.0.1")


def test_a_missing_certificate_is_an_error_message(here: Path) -> None:
    done = child(here, "web", TLS_CERT="/nowhere/cert.pem")

    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("twelvefold: TLS_CERT, TLS_KEY: /nowhere/cert.pem")


def test_web_continues_after_its_log_pipe_is_closed(here: Path) -> None:
    with serving(here) as web:
        assert web.process.stdout is not None
        web.process.stdout.close()

        for _ in range(3):
            assert web.get("/version")["name"] == "twelvefold"
        web.process.terminate()
        assert web.process.wait(timeout=240) in (0, 141)
        web.process.stdout = None


PROBE = """
import atexit, gc, json
from shop import workflow

def report():
    frozen, (young, *_) = gc.get_freeze_count(), gc.get_threshold()
    print(json.dumps({"event": "collector", "frozen": frozen, "young": young}), flush=True)

atexit.register(report)
"""


def test_the_garbage_collector_of_web_visits_few_objects_at_once(here: Path) -> None:
    (here / "probe.py").write_text(PROBE)
    with serving(here, WORKFLOWS="probe:workflow") as web:
        web.process.terminate()
        assert web.end().status == 0

    collector = web.lines[-1]
    assert collector["frozen"] > 10_000  # what was imported
    assert collector["young"] < 10_000
