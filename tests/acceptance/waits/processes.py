"""The processes: workers with a scripted model, and people who answer what runs wait for."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec

from tests.acceptance.waits.workflow import PacedModel, script, shop
from twelvefold.boot import open_services
from twelvefold.config import Settings
from twelvefold.core import Call, RunId, RunRecord, WaitStarted, fold
from twelvefold.core.ports import SignalKey
from twelvefold.engine import Services
from twelvefold.engine.commands import answer, answer_question
from twelvefold.errors import RequestError, ServiceFault, StaleRun
from twelvefold.worker.loop import Worker

LEASE_S = 2.0
PRICE = 7
"""What a person changes the price to."""
POLL_S = 0.1
MAX_RUNS = 1_000


def settings(url: str) -> Settings:
    return Settings.from_environ(
        {
            "DATABASE_URL": url,
            "WORKFLOWS": "tests.acceptance.waits.workflow:shop",
            "LEASE_S": f"{LEASE_S:g}",
            "MAX_RUNS": "16",
            "MAX_ATTEMPTS": "1000",  # however often processes are killed at one step
        }
    )


def run_worker(url: str) -> None:
    """Drive queued runs until the process is killed."""
    logging.disable()
    asyncio.run(_work(url))


async def _work(url: str) -> None:
    async with open_services(settings(url), with_model=False) as opened:
        services = replace(opened, model=PacedModel(script))
        await Worker(services, 16).run(asyncio.Event())


def run_person(url: str) -> None:
    """Answer what runs wait for, each answer twice, until the process is killed."""
    logging.disable()
    asyncio.run(_answer_all(url))


async def _answer_all(url: str) -> None:
    async with open_services(settings(url), with_model=False) as services:
        while True:
            await asyncio.sleep(POLL_S)
            with suppress(ServiceFault):
                records = await services.store.runs(limit=MAX_RUNS)
                for record in records:
                    if record.status == "waiting":
                        await _answer(services, record)


async def _answer(services: Services, record: RunRecord) -> None:
    journal = await services.store.load(record.run.thread)
    for call in fold(journal.entries).pending:
        # As a person whose first request got no response, and two who press at once.
        await asyncio.gather(*(_give(services, record, call, by) for by in ("ann", "bob")))


async def _give(services: Services, record: RunRecord, call: Call, by: str) -> None:
    """Give what a call waits for. What comes too late, or meets another answer, is refused."""
    wait = call.wait
    with suppress(RequestError, StaleRun):
        if call.state == "asked":
            number = msgspec.json.decode(call.arguments)["number"]
            edited = msgspec.json.encode({"number": number, "price": PRICE}).decode()
            await answer(services, record.run, approved=True, by=by, call=call.id, arguments=edited)
        elif isinstance(wait, WaitStarted) and wait.question:
            await answer_question(services, record.run, colour_of(record.run), by=by, call=call.id)
        elif isinstance(wait, WaitStarted) and wait.event:
            await pay(services, record.principal, wait.event, by)


async def pay(services: Services, principal: str, event: str, by: str) -> None:
    """Send a payment; the first one counts."""
    await services.store.signal(SignalKey(shop.name, principal, event), f'{{"by":"{by}"}}', by)


def colour_of(run: RunId) -> str:
    """Return what a person answers for a run: always the same."""
    return "red" if ord(run.thread[-1]) % 2 else "blue"


def run_payer(url: str, events: Sequence[tuple[str, str, float]]) -> None:
    """Send payments, each as (principal, event, seconds from now)."""
    logging.disable()
    asyncio.run(_pay_all(url, events))


async def _pay_all(url: str, events: Sequence[tuple[str, str, float]]) -> None:
    async with open_services(settings(url), with_model=False) as services:
        began = asyncio.get_running_loop().time()
        for principal, event, after_s in sorted(events, key=lambda one: one[2]):
            await asyncio.sleep(began + after_s - asyncio.get_running_loop().time())
            await pay(services, principal, event, "bank")
