"""The workflow with a resource, run by the command line against an HTTP server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from aiohttp import web

from examples.weather import workflow
from twelvefold.engine import Resources

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


async def test_the_tool_gets_the_client_of_the_workflow(tmp_path: Path) -> None:
    cities: list[str] = []

    async def forecast(request: web.Request) -> web.Response:
        cities.append(request.query["city"])
        return web.Response(text="sunny")

    server = web.Application()
    server.add_routes([web.get("/forecast", forecast)])
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        ran = await run(tmp_path, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()

    assert "forecast says: sunny" in ran
    assert len(cities) == 1


async def run(directory: Path, url: str) -> str:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(EXAMPLES),
        "WORKFLOWS": "weather:workflow",
        "WEATHER_URL": url,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "twelvefold", "run", "Get the forecast for Oslo"),
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_the_client_is_hidden_from_the_model() -> None:
    resources = Resources()

    assert await resources.open(workflow) == ("ClientSession",)
    await resources.close()

    assert list(workflow.tools[0].spec.parameters["properties"]) == ["city"]
