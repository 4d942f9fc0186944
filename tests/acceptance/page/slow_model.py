"""The demo model as an HTTP server that can be slow, pause in a text, or use other rules."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web

from twelvefold.services.model import demo
from twelvefold.services.model.demo import rules

EVENT_DELAY_S = 0.004


class SlowModel:
    """`rules` compute the reply. While paused, a text stops before its delta number `pause_at`."""

    def __init__(self) -> None:
        self.rules: demo.Rules = rules.reply
        self.delay_s = EVENT_DELAY_S
        self.pause_at = 25
        self.url = ""
        self._is_running = asyncio.Event()
        self._is_running.set()

    def pause(self) -> None:
        self._is_running.clear()

    def resume(self) -> None:
        self._is_running.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # the service was killed
            await response.prepare(request)
            deltas = 0
            for event in demo.response_events(self.rules(msgspec.json.decode(body)), body):
                deltas += b"output_text.delta" in event[:80]
                if deltas >= self.pause_at:
                    await self._is_running.wait()
                await response.write(event)
                await asyncio.sleep(self.delay_s)
        return response


@asynccontextmanager
async def slow_model() -> AsyncIterator[SlowModel]:
    """Serve the model until the end of the body."""
    model = SlowModel()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/responses", model.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield model
    finally:
        model.resume()
        await runner.cleanup()
