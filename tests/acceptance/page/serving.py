"""`twelvefold web` in a subprocess, on the embedded database of a directory."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_port

FIELDS = tuple(f"field_{number:02}" for number in range(27))
REFUNDS = f'''
from dataclasses import dataclass
from typing import Any

from twelvefold import Workflow, tool


@tool(effect="pure", approval=True)
async def refund(order: str, amount_usd: float) -> dict[str, Any]:
    """Refund an order: money goes back to the customer."""
    return {{"refunded": order, "amount_usd": amount_usd}}


@tool(effect="pure")
async def list_orders() -> list[dict[str, Any]]:
    """List the orders of the last days."""
    return [
        {{"order": "A-17", "amount_usd": 25.0, "status": "delivered"}},
        {{"order": "A-18", "amount_usd": 12.5, "status": "on its way"}},
    ]


@tool(effect="pure")
async def check_stock(problem: str = "no route to the warehouse") -> str:
    """Check the stock."""
    raise RuntimeError(problem)


@tool(effect="pure", approval=True)
async def transfer(
    note: str = "",
    details: dict[str, Any] | None = None,
    items: list[Any] | None = None,
    {", ".join(f'{name}: str = ""' for name in FIELDS)},
) -> str:
    """Move money."""
    return f"{{note}} {{details}}"


workflow = Workflow("refunds", "You give money back.", (refund, list_orders, check_stock, transfer))


@dataclass
class Booking:
    guest: str
    seats: int


bookings = Workflow("bookings", "You book tables.", output=Booking)
'''
WAITS = '''
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from twelvefold import Ask, FanOut, Wait, Workflow, tool


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    street: str
    city: str = ""


class Delivery(BaseModel):
    name: str = Field(description="As on the door")
    pieces: int = Field(ge=1, le=3)
    size: Size
    express: bool
    weight_kg: float | None = None
    address: Address


SCHEMAS: dict[str, Any] = {
    "text": None,
    "number": {"type": "number"},
    "whole": {"type": "integer", "minimum": 1, "maximum": 3},
    "yes": bool,
    "colour": Literal["red", "blue"],
    "month": {"enum": [str(month) for month in range(1, 13)]},
    "delivery": Delivery,
    "anything": {"type": "array", "items": {"type": "string"}},
}


@tool(effect="pure")
async def ask(kind: str, seconds: float = 0) -> Ask:
    """Ask the customer."""
    timeout = timedelta(seconds=seconds) if seconds else None
    return Ask(f"Which {kind}?", schema=SCHEMAS[kind], timeout=timeout)


@tool(effect="pure")
async def ask_person(person: str, kind: str) -> Ask:
    """Ask somebody else than the customer."""
    return Ask(f"Which {kind}?", schema=SCHEMAS[kind], person=person)


@tool(effect="pure")
async def remind(seconds: float) -> Wait:
    """Wait some seconds."""
    return Wait(until=timedelta(seconds=seconds))


@tool(effect="pure")
async def order(item: str) -> Wait:
    """Order an item. The result is the payment."""
    return Wait(event=f"payment:{item}")


@tool(effect="pure", approval=True, approval_timeout_s=900)
async def pay(account: str, amount_usd: float) -> str:
    """Pay money."""
    return f"paid {amount_usd} to {account}"


@tool(effect="pure", approval=True, approval_timeout_s=2)
async def pay_soon(amount_usd: float) -> str:
    """Pay money, if it is allowed at once."""
    return f"paid {amount_usd}"


billing = Workflow("billing", "You pay bills.", (ask, pay, remind))


@tool(effect="pure")
async def pay_all(bills: list[str]) -> FanOut:
    """Pay several bills."""
    return FanOut(billing.task(bill) for bill in bills)


workflow = Workflow(
    "orders",
    "You take orders.",
    (ask, ask_person, remind, order, pay, pay_soon, pay_all, billing.as_tool("Pays bills.")),
    children=(billing,),
)
'''
ENROLMENT = "twelvefold.workflows.enrolment.workflow:workflow"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


class Site:
    """A server that can be killed and restarted at the same address."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self._port = free_port()
        self._directory = directory
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        (directory / "refunds.py").write_text(REFUNDS, encoding="utf-8")
        (directory / "waits.py").write_text(WAITS, encoding="utf-8")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        """Start the process and return when it listens."""
        process = self._process = self._spawn("web")
        while process.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise AssertionError(f"web did not start:\n{self.log()}")

    def start_worker(self) -> None:
        """Start a worker, which continues runs whose wait is over."""
        self._worker = self._spawn("worker")

    def _spawn(self, process: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "twelvefold", process]
        with (self._directory / "web.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self._directory, env=self._environ(), stdout=log, stderr=log
            )

    def kill(self) -> None:
        for process in (self._process, self._worker):
            if process:
                process.kill()
                process.wait()

    def command(self, *arguments: str) -> str:
        """Return the output of a command in the same directory with the same settings."""
        done = subprocess.run(
            [sys.executable, "-m", "twelvefold", *arguments],
            cwd=self._directory,
            env=self._environ(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self._directory / "twelvefold.db") as db:
            found = db.execute(statement).fetchall()
        db.close()
        return found

    def insert(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with sqlite3.connect(self._directory / "twelvefold.db", timeout=30) as db:
            db.executemany(statement, rows)
        db.close()

    def log(self) -> str:
        return (self._directory / "web.log").read_text(errors="replace")

    def _environ(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        workflows = f"{ENROLMENT},refunds:workflow,refunds:bookings,waits:workflow"
        own = {"PORT": str(self._port), "WORKFLOWS": workflows}
        return {**inherited, **own, "LEASE_S": "2", "LOG_FORMAT": "json", **self._settings}
