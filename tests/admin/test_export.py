"""An exported journal can be read back, entry by entry."""

import json

from tests.builders import asked, called, entries, finished, said, succeeded
from twelvefold.admin.export import export_lines
from twelvefold.core.events import decode


def test_every_entry_is_a_line_that_holds_all_of_it() -> None:
    told = entries(asked("grüße\u2028"), called("enrol"), succeeded(), said(), finished())

    lines = [json.loads(line) for line in export_lines(told)]

    bodies = [json.dumps(line["body"]) for line in lines]
    assert [
        decode(line["type"], line["version"], body)
        for line, body in zip(lines, bodies, strict=True)
    ] == [entry.event for entry in told]
    assert [(line["position"], line["run"]) for line in lines] == [
        (entry.position, entry.run) for entry in told
    ]


def test_a_body_stands_as_the_journal_has_it() -> None:
    (line,) = export_lines(entries(finished("failed", "rejected")))

    assert line.endswith('"body": {"status":"failed","reason":"rejected"}}')
