"""How long each view of `/v1/admin` takes over HTTP, on a database that `fill` made.

    python -m tests.acceptance.million.measure URL

Starts a web process. Prints the first, the median and the longest time of each view, and fails if
a median is over `LIMIT_MS`.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from statistics import median
from typing import IO, Any

import httpx2

from tests.acceptance.million.fill import OPERATOR

LIMIT_MS = 300.0
ROUNDS = 7


@contextmanager
def web_process(url: str) -> Iterator[str]:
    """Start a web process without keys and yield its address."""
    environ = {**os.environ, "DATABASE_URL": url, "PORT": "0", "LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "twelvefold", "web"]
    # Not a pipe: nobody reads it later, and the process would block when it is full.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environ, stdout=log)
        try:
            yield _wait_for_address(process, log)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_address(process: "subprocess.Popen[bytes]", log: IO[str]) -> str:
    while process.poll() is None:
        log.seek(0)
        for line in log:
            if '"web_ready"' in line and line.endswith("\n"):
                return str(json.loads(line)["address"])
        time.sleep(0.1)
    raise RuntimeError("the web process has ended")


async def admin_views(client: httpx2.AsyncClient) -> AsyncIterator[tuple[str, str]]:
    """Yield the name and the path of each view."""
    day = 86_400
    now = int(time.time())
    filters = {
        "all": "",
        "failed": "status=failed",
        "completed": "status=completed",
        "waiting": "status=waiting",
        "queued": "status=queued",
        "workflow": "workflow=billing",
        "rare workflow": "workflow=retired",
        "principal": "principal=large-tenant",
        "small principal": "principal=user-0007",
        "unknown principal": "principal=nobody",
        "failed of a workflow": "status=failed&workflow=returns",
        "failed of a small principal": "status=failed&principal=user-0007",
        "completed of a rare workflow": "status=completed&workflow=retired",
        "principal and workflow": "principal=large-tenant&workflow=orders",
        "failed of both": "status=failed&principal=large-tenant&workflow=orders",
        "a day": f"since={now - 30 * day}&until={now - 29 * day}",
        "failed of a day": f"status=failed&since={now - 30 * day}&until={now - 29 * day}",
        "waiting of a small principal, an hour": (
            f"status=waiting&principal=user-0011&since={now - 40 * day}"
            f"&until={now - 40 * day + 3600}"
        ),
        "search: error": "search=no+answer+from+bank+13",
        "search: no such error": "search=xyzzy",
        "search: id": "search=resp_{thread}{run}",
        "search: beginning of an id": "search={start}",
    }
    page = await client.get("/v1/admin/runs?limit=100")
    assert page.status_code == 200, page.text
    runs = page.json()["data"]
    failed = (await client.get("/v1/admin/runs?status=failed&limit=100")).json()
    thread = runs[40]["thread"].removeprefix("conv_")
    named = {"thread": thread, "run": runs[40]["run"], "start": thread[:14]}
    for name, query in filters.items():
        yield f"runs: {name}", f"/v1/admin/runs?limit=50&{query.format(**named)}"
    yield "runs: next page", f"/v1/admin/runs?limit=50&after={runs[-1]['id']}"
    page = await client.get(f"/v1/admin/runs?limit=1&until={now - 50 * day}")
    old = page.json()["data"][0]["id"]
    yield "runs: page in the middle", f"/v1/admin/runs?limit=50&after={old}"
    yield (
        "runs: next failed page",
        f"/v1/admin/runs?limit=50&status=failed&after={failed['last_id']}",
    )
    yield "workers", "/v1/admin/workers"
    first = time.strftime("%Y-%m-%d", time.gmtime(now - 60 * day))
    for by in ("day", "workflow", "principal", "day,workflow", "day,principal"):
        yield f"usage: 60 days by {by}", f"/v1/admin/usage?from={first}&by={by}"
    yield "usage: of a principal", f"/v1/admin/usage?from={first}&principal=user-0007"
    yield "usage: of a workflow", f"/v1/admin/usage?from={first}&by=principal&workflow=orders"
    of_both = f"/v1/admin/usage?from={first}&principal=user-0007&workflow=orders"
    yield "usage: of a principal and workflow", of_both

    yield "keys", "/v1/admin/keys?limit=50"
    yield "budgets", "/v1/admin/budgets"


async def measure(client: httpx2.AsyncClient, path: str) -> tuple[int, list[float], Any]:
    """Return the status, the times in milliseconds, and the body."""
    times = []
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        answer = await client.get(path)
        times.append(1_000 * (time.perf_counter() - began_at))
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    return answer.status_code, times, answer.json() if is_json else None


async def main() -> int:
    """Measure all views; return 1 if one is slow or fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    is_good = True
    with web_process(parser.parse_args().url) as base:
        headers = {"authorization": f"Bearer {OPERATOR}"}
        async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
            print(f"{'view':42} status  rows    first   median  longest  ms")
            async for name, path in admin_views(client):
                status, times, body = await measure(client, path)
                rows = len(body["data"]) if isinstance(body, dict) and "data" in body else ""
                is_fast = status == 200 and median(times) < LIMIT_MS
                is_good &= is_fast
                numbers = " ".join(f"{one:8.1f}" for one in (times[0], median(times), max(times)))
                mark = "" if is_fast else "  <--"
                print(f"{name:42} {status:6} {rows!s:>5} {numbers}{mark}", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
