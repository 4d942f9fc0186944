"""Factor VII, port binding: web is a complete HTTP server at its port."""

import asyncio

from twelvefold.factors.harness import FakeModelServer, Process, Report, TestBed
from twelvefold.factors.harness.workflow import RELAY_IMPORT_PATH

OTHER_ADDRESS = "127.0.0.2"
"""On loopback as well, but web must not listen there unless HOST names it."""


async def check_port_binding(bed: TestBed, report: Report) -> None:
    url = await bed.databases.create_migrated()
    async with FakeModelServer().serve() as model:
        inner = await bed.processes.start_web(bed.process_settings(url, model))
        port = inner.http.port
        health, page = await inner.http.get("/healthz"), await inner.http.get("/")
        report.expect(
            (health.status, page.status) == (200, 200) and "<html" in page.text,
            f"web bound PORT {port} and served /healthz and the page at / without another server",
            f"at PORT {port} /healthz returned {health.status} and / returned {page.status}",
        )
        report.expect(
            not await _accepts(OTHER_ADDRESS, port),
            f"web listens on 127.0.0.1 only: {OTHER_ADDRESS} refused the connection",
            f"web also listens on {OTHER_ADDRESS}, which HOST does not name",
        )
        await _check_as_model(bed, report, url, inner)


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def _check_as_model(bed: TestBed, report: Report, url: str, inner: Process) -> None:
    """Expect that one instance can be the model of another."""
    settings = {
        "DATABASE_URL": url,
        "WORKFLOWS": RELAY_IMPORT_PATH,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{inner.http.port}/v1",
        "OPENAI_MODEL": "bookings",
        "WEB_DRIVES": "foreground",
    }
    outer = await bed.processes.start_web(settings)
    response = await outer.http.post("/v1/responses", model="relay", input="forward this")
    report.expect(
        "the last: forward this" in response.output_text,
        "a second instance used the first one as its model, by OPENAI_BASE_URL, and was answered",
        f"an instance with the first one as its model returned HTTP {response.status}, "
        f"{response.output_text or response.text[:200]!r}",
    )
