"""A worker opens the resources of its workflows once, and closes them when it stops."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKFLOW = """
from contextlib import asynccontextmanager
from pathlib import Path
from twelvefold import Resource, SyncTransaction, Workflow, tool

def note(line):
    with Path("log").open("a") as file:
        file.write(line + "\\n")

class Client:
    pass

class Pool:
    pass

def opener(name, resource):
    @asynccontextmanager
    async def opened():
        note(f"open {name}")
        yield resource
        note(f"close {name}")
    return opened

@tool
def order(tx: SyncTransaction, client: Resource[Client], item: str) -> str:
    "Order an item."
    note("order")
    tx.execute("insert into orders values (:item)", item=item)
    return "ordered"

@tool(effect="pure")
async def look(pool: Resource[Pool], item: str) -> str:
    "Look at an item."
    return item

SCHEMA = "create table if not exists orders (item varchar(100));"
shop = Workflow("shop", "Sell.", (order,), schema=SCHEMA, resources=opener("client", Client()))
store = Workflow("store", "Sell.", (look,), resources=opener("pool", Pool()))
"""
WAIT_S = 240.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(WORKFLOW)
    return tmp_path


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "WORKFLOWS": "shop:shop,shop:store"}
    command = [sys.executable, "-m", "twelvefold", *arguments]
    return subprocess.Popen(command, cwd=directory, env=environ, stdout=subprocess.PIPE, text=True)


def log(directory: Path) -> list[str]:
    path = directory / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_a_worker_closes_its_resources_in_reverse_order(directory: Path) -> None:
    worker = start(directory, "worker")
    try:
        end = time.monotonic() + WAIT_S
        while len(log(directory)) < 2:
            assert time.monotonic() < end
            assert worker.poll() is None
            time.sleep(0.05)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=WAIT_S)

    assert worker.returncode == 0
    assert log(directory) == ["open client", "open pool", "close pool", "close client"]


def test_a_command_opens_only_what_its_run_needs(directory: Path) -> None:
    output, _ = start(directory, "run", "Order a lamp").communicate(timeout=WAIT_S)

    assert "order says: ordered" in output
    assert log(directory) == ["open client", "order", "close client"]
