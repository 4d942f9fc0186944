"""Journals are exported entry by entry, with those of the runs below."""

import json

import pytest
from msgspec import structs

from tests.builders import asked, called, entries, finished, said, succeeded
from tests.engine.stage import Stage, start
from twelvefold.boot import RandomIds
from twelvefold.core.events import ChildrenStarted, decode
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Append, NewRun
from twelvefold.engine.export import export_lines, export_thread
from twelvefold.engine.lease import new_lease_token
from twelvefold.errors import NotFound
from twelvefold.services.model.cassette import CassetteModel


def test_each_line_has_one_complete_entry() -> None:
    journal = entries(asked("grüße\u2028"), called("enrol"), succeeded(), said(), finished())

    lines = [json.loads(line) for line in export_lines(journal)]

    bodies = [json.dumps(line["body"]) for line in lines]
    assert [
        decode(line["type"], line["version"], body)
        for line, body in zip(lines, bodies, strict=True)
    ] == [entry.event for entry in journal]
    assert [(line["position"], line["run"]) for line in lines] == [
        (entry.position, entry.run) for entry in journal
    ]


def test_a_body_is_exported_as_it_is_stored() -> None:
    (line,) = export_lines(entries(finished("failed", "rejected")))

    assert line.endswith('"body": {"status":"failed","reason":"rejected"}}')


async def test_the_runs_below_follow_with_their_conversation(stage: Stage) -> None:
    services = stage.process()
    held = await start(services)
    run = held.run
    child = RunId(RandomIds().thread_in_family(run.thread), 1)
    gone = RunId(ThreadId("f" * 44), 1)
    new = NewRun(child, new_lease_token(), 0, "ann", "shop", "1.0", background=True)
    async with services.store.append(Append(held.lease, 1, 2)) as tx:
        tx.start_child(new, structs.replace(asked(), parent=str(run), parent_call="2.0"))
        below = (str(gone), str(child))
        await tx.record([called("ask"), ChildrenStarted(CallId("2.0"), "ask", below)])

    lines = [line async for line in export_thread(services.store, run.thread)]

    found = [json.loads(line) for line in lines]
    assert [(one.get("thread"), one["position"], one["type"]) for one in found] == [
        (None, 1, "RunStarted"),
        (None, 2, "ModelReplied"),
        (None, 3, "ChildrenStarted"),
        (f"conv_{child.thread}", 1, "RunStarted"),
    ]
    line = json.dumps(found[1] | {"thread": "conv_x"})
    assert len(CassetteModel.from_export([*lines, line])._replies) == 1


async def test_a_thread_that_does_not_exist_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFound):
        [line async for line in export_thread(stage.process().store, ThreadId("f" * 44))]
