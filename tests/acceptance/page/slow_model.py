"""The demo model behind a URL: it takes its time, stops in mid-sentence, or says something else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
from aiohttp import web

from twelvefold.services.model import demo
from twelvefold.services.model.demo import rules

PACE_S = 0.004


class SlowModel:
    """`rules` say what it says. While it is `held`, a text stops before its `holds_at`th piece."""

    def __init__(self) -> None:
        self.rules: demo.Rules = rules.reply
        self.pace_s = PACE_S
        self.holds_at = 25
        self.url = ""
        self._goes_on = asyncio.Event()
        self._goes_on.set()

    def hold(self) -> None:
        self._goes_on.clear()

    def let_go(self) -> None:
        self._goes_on.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with suppress(ConnectionError):  # a server that is killed says no goodbye
            await response.prepare(request)
            pieces = 0
            for event in demo.response_events(self.rules(msgspec.json.decode(body)), body):
                pieces += b"output_text.delta" in event[:80]
                if pieces >= self.holds_at:
                    await self._goes_on.wait()
                await response.write(event)
                await asyncio.sleep(self.pace_s)
        return response


@asynccontextmanager
async def slow_model() -> AsyncIterator[SlowModel]:
    """The model and its server, which ends with the body."""
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
        model.let_go()
        await runner.cleanup()
