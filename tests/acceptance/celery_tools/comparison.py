"""The same tools in plain Celery tasks and in tasks of the adapter, with faults, on RabbitMQ.

    DATABASE_URL=mysql://… BROKER=amqp://… python -m tests.acceptance.celery_tools.comparison

Prints a table with the effects that occurred more than once, and those that are missing. The
faults: every message is delivered twice; processes of the pool are killed (SIGKILL) while they
work.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from tests.acceptance.celery_tools.tasks import ACTS, SCHEMA, app, plain, runs
from tests.acceptance.database import private_database
from tests.services.model.streams import FakeReply, responses_events
from twelvefold.core.ports import Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

ROOT = Path(__file__).resolve().parents[3]
Fault = Literal["every message delivered twice", "processes killed"]
Way = Literal["plain", "advance"]
FAULTS: tuple[Fault, ...] = ("every message delivered twice", "processes killed")
WAYS: tuple[Way, ...] = ("plain", "advance")
POOL = 4
PACE_S = 0.2
"""How long a reply of the model takes."""
KILLS = 8
KILL_EVERY_S = 2.0
TIMEOUT_S = 400.0
LEASE_S = "2"


@dataclass(frozen=True, slots=True)
class Result:
    """The acts in the database at the end: those that exist more than once, and missing ones."""

    fault: Fault
    way: Way
    orders: int
    doubled: int
    lost: int


@asynccontextmanager
async def model_server() -> AsyncIterator[str]:
    """A model that calls each tool in turn, for the order that the user names; its base URL."""

    async def reply(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(PACE_S)
        done = sum(item.get("type") == "function_call_output" for item in body["input"])
        order = str(body["input"][0]["content"]).rpartition(" ")[2]
        if isinstance(body["input"][0]["content"], list):
            order = body["input"][0]["content"][0]["text"].rpartition(" ")[2]
        said = FakeReply("All is done.")
        if done < len(ACTS):
            arguments = json.dumps({"order": order})
            said = FakeReply(calls=[(f"call_{done}", ACTS[done], arguments)])
        events = responses_events(said)
        if body.get("stream"):
            return web.Response(body=b"".join(events), content_type="text/event-stream")
        last = json.loads(events[-1].split(b"data: ", 1)[1])
        return web.json_response(last["response"])

    app = web.Application()
    app.router.add_post("/v1/responses", reply)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@contextmanager
def celery_worker(queue: Way) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "celery", "-A", "tests.acceptance.celery_tools.tasks"]
    command += ["worker", "-Q", queue, "-c", str(POOL), "--loglevel", "critical", "-n", queue]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def compare(fault: Fault, way: Way, orders: int) -> Result:
    """Play one fault for one way, in a database and with queues of its own."""
    name = f"celery_{secrets.token_hex(6)}"
    async with model_server() as base_url, private_database(os.environ["SERVER"], name) as url:
        os.environ |= {"DATABASE_URL": url, "OPENAI_BASE_URL": base_url, "OPENAI_MODEL": "mock"}
        os.environ |= {"WORKFLOWS": "tests.acceptance.celery_tools.tasks:workflow"}
        os.environ |= {"LEASE_S": LEASE_S}
        await migrate(url)
        store = await open_store(url)
        try:
            await store.run_script(SCHEMA)
            await asyncio.to_thread(_send, way, orders, fault)
            with celery_worker(way) as process:
                async with asyncio.timeout(TIMEOUT_S):
                    if fault == "processes killed":
                        await _kill_children(process.pid, store)
                    await _until_done(store, orders)
                    await asyncio.sleep(5)  # for messages that are still to be delivered
            return await _result(store, fault, way, orders)
        finally:
            await asyncio.to_thread(runs.close)
            await store.close()


def _send(way: Way, orders: int, fault: Fault) -> None:
    twice = fault == "every message delivered twice"
    with app.connection_for_write() as connection:
        queue = app.amqp.queues[way].bind(connection.default_channel)
        queue.declare()
        queue.purge()
    for number in range(orders):
        text = f"Handle order o-{number}"
        if way == "plain":
            for _ in range(1 + twice):
                plain.delay(text)
        else:
            run = runs.start("orders", text, principal="shop")
            if twice:
                runs.advance(run)


async def _kill_children(parent: int, store: Store) -> None:
    """Kill a process of the pool again and again, once the pool works; the pool replaces it."""
    while not await _shipped(store):
        await asyncio.sleep(0.2)
    for _ in range(KILLS):
        if children := _children(parent):
            os.kill(random.choice(children), signal.SIGKILL)
        await asyncio.sleep(KILL_EVERY_S)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


async def _until_done(store: Store, orders: int) -> None:
    while await _shipped(store) < orders:
        await asyncio.sleep(0.2)


async def _shipped(store: Store) -> int:
    async with store.read() as db:
        row = await db.fetch_one(
            "SELECT COUNT(DISTINCT order_id) AS n FROM acts WHERE act = 'ship'"
        )
    return int(row["n"]) if row else 0


async def _result(store: Store, fault: Fault, way: Way, orders: int) -> Result:
    async with store.read() as db:
        rows = await db.fetch_all("SELECT order_id, act FROM acts")
    counts = Counter((row["order_id"], row["act"]) for row in rows)
    doubled = sum(count - 1 for count in counts.values())
    return Result(fault, way, orders, doubled, orders * len(ACTS) - len(counts))


def markdown(results: list[Result]) -> str:
    lines = ["| fault | orders | tasks | done more than once | not done |", "|---|---|---|---|---|"]
    names = {"plain": "plain Celery", "advance": "the adapter"}
    lines += [
        f"| {one.fault} | {one.orders} | {names[one.way]} | {one.doubled} | {one.lost} |"
        for one in results
    ]
    return "\n".join(lines)


async def main_async(orders: int) -> list[Result]:
    results = []
    for fault in FAULTS:
        for way in WAYS:
            results.append(await compare(fault, way, orders))
            print(results[-1], file=sys.stderr, flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100)
    arguments = parser.parse_args()
    os.environ["SERVER"] = os.environ["DATABASE_URL"]
    print(markdown(asyncio.run(main_async(arguments.orders))))


if __name__ == "__main__":
    main()
