"""Seeding from a file: formats, and errors with line numbers."""

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from twelvefold import Transaction, Workflow
from twelvefold.admin.seed import seed
from twelvefold.core.ports import Store
from twelvefold.errors import DuplicateRow, RequestError, ToolRefused
from twelvefold.services.store import open_store


async def seeder(tx: Transaction, records: Iterable[Mapping[str, Any]] | None = None) -> int:
    """Raises KeyError for a record without a name."""
    count = 0
    for record in [{"name": "own"}] if records is None else records:
        if record["name"] == "refused":
            raise ToolRefused("no such name")
        await tx.execute("insert into named values (:name)", name=record["name"])
        count += 1
    return count


async def seeder_that_reads_first(
    tx: Transaction, records: Iterable[Mapping[str, Any]] | None = None
) -> int:
    """Checks all records before it writes any."""
    bad = [n for n, record in enumerate(records or [], start=1) if not record.get("name")]
    if bad:
        raise ValueError("\n".join(f"record {n}: has no name" for n in bad))
    return 0


FLOW = Workflow("flow", "", (), seed=seeder)


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    store = await open_store(f"sqlite:///{tmp_path}/a.db")
    await store.run_script("create table named (name varchar(20) not null);")
    yield store
    await store.close()


async def names(store: Store) -> list[str]:
    async with store.read() as db:
        return [row["name"] for row in await db.fetch_all("select name from named")]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_without_a_file_the_workflow_uses_its_own_records(store: Store) -> None:
    assert await seed(store, FLOW) == 1

    assert await names(store) == ["own"]


async def test_a_file_is_read_line_by_line_with_progress(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"name": "a"}\n\n{"name": "b"}\n')
    progress: list[tuple[int, int]] = []

    count = await seed(store, FLOW, path, lambda done, total: progress.append((done, total)))

    assert (count, await names(store), progress) == (2, ["a", "b"], [(1, 2), (2, 2)])


async def test_a_file_may_be_compressed_whatever_its_name(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(b'{"name": "a"}\n'))

    assert await seed(store, FLOW, path) == 1


async def test_every_bad_line_is_reported_and_nothing_is_write(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"name": "a"}\n\n{"name":}\n[1]\n"\xff"\n')

    with pytest.raises(RequestError) as caught:
        await seed(store, FLOW, path)

    assert str(caught.value).splitlines() == [
        f"{path}, line 3: not JSON: Expecting value at column 9",
        f"{path}, line 4: a JSON list, not an object",
        f"{path}, line 5: not UTF-8",
        "nothing was written",
    ]
    assert await names(store) == []


async def test_json_nested_too_deeply_is_an_error(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "deep.jsonl"
    file.write_text("[" * 200_000)

    with pytest.raises(RequestError, match="line 1: JSON nested too deeply"):
        await seed(store, FLOW, file)


async def test_only_the_first_bad_lines_are_listed(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "x\n" * 100)

    with pytest.raises(RequestError) as caught:
        await seed(store, FLOW, path)

    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-2]) == (22, "… and 80 more")


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"nome": "b"}', "KeyError('name')"), ('{"name": "refused"}', "no such name")],
)
async def test_an_error_of_the_workflow_has_the_line_of_its_record(
    store: Store, tmp_path: Path, line: str, message: str
) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"name": "a"}}\n\n{line}\n{{"name": "c"}}\n')

    with pytest.raises(RequestError) as caught:
        await seed(store, FLOW, path)

    assert str(caught.value) == f"{path}, line 3: {message}\nnothing was written"
    assert await names(store) == []


async def test_an_error_of_the_database_has_the_workflow_or_line(
    store: Store, tmp_path: Path
) -> None:
    await store.run_script("create unique index once on named (name);")
    await seed(store, FLOW)

    with pytest.raises(DuplicateRow, match=r"^workflow flow: seed: .*; nothing was written$"):
        await seed(store, FLOW)

    path = write(tmp_path / "a.jsonl", '{"name": "a"}\n{"name": "own"}\n')
    with pytest.raises(DuplicateRow, match=r"a.jsonl, line 2: .*; nothing was written$"):
        await seed(store, FLOW, path)
    assert await names(store) == ["own"]


async def test_record_numbers_of_the_workflow_become_line_numbers(
    store: Store, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", '\n{}\n{"name": "a"}\n\n{"name": ""}\n')

    with pytest.raises(RequestError) as caught:
        await seed(store, Workflow("flow", "", (), seed=seeder_that_reads_first), path)

    assert str(caught.value).splitlines() == [
        f"{path}, line 2: has no name",
        f"{path}, line 5: has no name",
        "nothing was written",
    ]


async def test_an_unreadable_file_is_an_error(store: Store, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b'{"name": "a"}\n' * 1000)[:40])

    for path in (tmp_path / "none", tmp_path, cut):
        with pytest.raises(RequestError, match="cannot read the file"):
            await seed(store, FLOW, path)


async def test_a_workflow_may_have_no_seed(store: Store) -> None:
    with pytest.raises(RequestError, match="workflow 'bare' declares no seed"):
        await seed(store, Workflow("bare", "", ()))
