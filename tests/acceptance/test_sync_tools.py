"""A process is killed while the thread of a tool is in its transaction; another one continues."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

WORKFLOW = """
import time
from pathlib import Path
from twelvefold import SyncTransaction, Workflow, tool

@tool
def order(tx: SyncTransaction, item: str) -> str:
    "Order an item."
    tx.execute("insert into orders values (:item)", item=item)
    tx.send_mail("ann@example.org", "Your order", item)
    first = not Path("begun").exists()
    Path("begun").touch()
    if first:
        time.sleep(60)
    return "ordered"

SCHEMA = "create table if not exists orders (item varchar(100));"
shop = Workflow("shop", "Sell.", (order,), schema=SCHEMA)
"""
WAIT_S = 240.0


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {"PATH": os.environ["PATH"], "WORKFLOWS": "shop:shop", "LEASE_S": "2"}
    command = [sys.executable, "-m", "twelvefold", *arguments]
    return subprocess.Popen(command, cwd=directory, env=environ, stdout=subprocess.PIPE, text=True)


def test_a_killed_thread_leaves_no_rows_and_the_call_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(WORKFLOW)
    killed = start(tmp_path, "run", "Order a lamp")
    end = time.monotonic() + WAIT_S
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=WAIT_S)
    before = rows(tmp_path, "select item from orders")

    worker = start(tmp_path, "worker")
    try:
        while rows(tmp_path, "select status from runs") != [("completed",)]:
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=WAIT_S)

    assert before == []
    assert len(rows(tmp_path, "select item from orders")) == 1
    assert len(rows(tmp_path, "select id from outbox")) == 1


def rows(directory: Path, statement: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(directory / "twelvefold.db", timeout=60)) as db:
        return db.execute(statement).fetchall()
