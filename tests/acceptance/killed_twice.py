"""One enrolment whose process is killed twice, with SIGKILL, and finished by a third one.

    python -m tests.acceptance.killed_twice http://127.0.0.1:6006

exports its trace to a collector of your own, for example for a picture.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.services.model.streams import FakeReply, responses_events
from twelvefold.app.opening import open_checked_services
from twelvefold.config import Settings
from twelvefold.core.ids import RunId
from twelvefold.core.ports import OVER, Principal
from twelvefold.engine import RunRequest, enqueue_run

Process = asyncio.subprocess.Process
ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINT = "from twelvefold.cli.main import main; raise SystemExit(main())"
WISH = "Enrol me in PY-101, please."
TOOLS = ("get_course", "enrol", "send_welcome")
PACE_S = 0.3
"""How long a reply takes."""


class SlowModel:
    """A model's server that calls these tools one by one; the reply `hold` never ends."""

    def __init__(self) -> None:
        self.hold = 0
        self.held = threading.Event()
        self.traceparents: list[str] = []
        self.url = ""

    def answer(self, number: int, handler: BaseHTTPRequestHandler) -> None:
        if number == self.hold:
            self.held.set()
            with suppress(ConnectionError):
                handler.rfile.read(1)  # until the client is killed
            return
        threading.Event().wait(PACE_S)
        reply = FakeReply("You are enrolled.")
        if number <= len(TOOLS):
            arguments = json.dumps({"course_code": "PY-101"})
            reply = FakeReply(calls=[(f"call_{number}", TOOLS[number - 1], arguments)])
        for event in responses_events(reply):
            handler.wfile.write(event)


@contextmanager
def slow_model() -> Iterator[SlowModel]:
    model = SlowModel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            model.traceparents.append(self.headers.get("traceparent", ""))
            outputs = [one for one in asked["input"] if one.get("type") == "function_call_output"]
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            model.answer(len(outputs) + 1, self)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def a_worker(environ: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ENTRY_POINT, "worker"), env={**os.environ, **environ}, cwd=ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def enrol(database_url: str, model: SlowModel, environ: Mapping[str, str]) -> RunId:
    """Queue an enrolment, kill two workers in the middle of it, and let a third one finish it."""
    own = {
        **environ,
        "DATABASE_URL": database_url,
        "OPENAI_BASE_URL": model.url,
        "LEASE_S": "1",
        "LOG_LEVEL": "error",
    }
    settings = Settings(database_url=database_url)
    async with open_checked_services(settings, with_model=False) as services:
        items = [{"type": "message", "role": "user", "content": WISH}]
        run, _ = await enqueue_run(services, RunRequest("enrolment", Principal("ann"), items))
        for hold in (2, 3):
            model.hold = hold
            model.held.clear()
            async with a_worker(own) as process:
                await asyncio.to_thread(model.held.wait, 60)
                process.send_signal(signal.SIGKILL)
        model.hold = 0
        async with a_worker(own) as process:
            while (await services.store.run(run)).status not in OVER:
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            await process.wait()
    return run


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, slow_model() as model:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": sys.argv[1], "OTEL_SERVICE_NAME": "academy"}
        environ |= {"OTEL_BSP_SCHEDULE_DELAY": "100"}
        print(asyncio.run(enrol(f"sqlite:///{directory}/academy.db", model, environ)))


if __name__ == "__main__":
    main()
