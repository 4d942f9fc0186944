"""Lists and pages of a very large tenant read few rows and hold little memory."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.builders import added, asked, user
from tests.services.store.builders import new_run, new_thread, rows
from tests.services.store.conftest import mariadb, mariadb_url  # noqa: F401 - fixtures
from tests.web.serving import Serve, Served
from twelvefold.core.ids import ThreadId
from twelvefold.core.ports import Store

UNKEPT = 4_000
ITEMS = 30
ITEM_BYTES = 4_000_000
READERS = 12


async def _rows_read(store: Store) -> int:
    found = await rows(store, "SHOW GLOBAL STATUS LIKE 'Handler_read%'")
    return sum(int(row["Value"]) for row in found)


@pytest.mark.slow
@pytest.mark.mysql
async def test_a_list_does_not_read_4000_turns_that_were_not_stored(
    mariadb: Store,  # noqa: F811 - a fixture
) -> None:
    thread = new_thread()
    await mariadb.new_thread(thread, "ann", "academy", {})
    for _ in range(UNKEPT // 20):
        starts = (mariadb.start(new_run(), asked(store=False), None) for _ in range(20))
        await asyncio.gather(*starts)

    before = await _rows_read(mariadb)
    listed = await mariadb.threads("ann", limit=100)
    read = await _rows_read(mariadb) - before

    assert [one.head.id for one in listed] == [thread]
    # Status itself reads some hundred rows of its own tables.
    assert read < 1_000


def _memory_kib(name: str, *, reset: bool = False) -> int:
    """Of this process; with `reset` its peak is that of now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    status = Path("/proc/self/status").read_text("utf-8")
    return int(re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[0])


async def _drain(api: Served, path: str, query: dict[str, Any]) -> int:
    async with api.http.stream("GET", f"/v1/conversations{path}", params=query) as answer:
        return sum([len(chunk) async for chunk in answer.aiter_raw()])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/{id}/journal", {"limit": 500}),
        ("/{id}/items", {"limit": 100}),
        ("/{id}/items", {"limit": 100, "order": "asc"}),
        ("/{id}/items/msg_{thread}15i0", {}),
        ("/{id}", {}),
        ("", {"limit": 100}),
    ],
)
async def test_readers_of_large_entries_hold_a_page_each(
    serve: Serve, path: str, query: dict[str, Any]
) -> None:
    api = await serve()
    id = str((await api.post("/conversations")).json()["id"])
    store, thread = api.web.services.store, ThreadId(id.removeprefix("conv_"))
    for head in range(ITEMS):
        await store.add_items(thread, head, 0, added(user("x" * ITEM_BYTES)))
    path = path.format(id=id, thread=thread)
    await _drain(api, path, query)
    before = _memory_kib("VmRSS", reset=True)

    sizes = await asyncio.gather(*(_drain(api, path, query) for _ in range(READERS)))

    assert max(sizes) < 2 * ITEM_BYTES
    # All items together have 120 MB, twelve times.
    assert _memory_kib("VmHWM") - before < 250_000
