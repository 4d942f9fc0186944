"""How the commands show the runs that a run has started."""

from pathlib import Path

from tests.builders import asked, called, thread_of
from tests.engine.family.stories import firm, run_boss
from tests.engine.stage import SCHEMA, Stage
from twelvefold.boot import SCHEMA as LEVEL
from twelvefold.cli.family import indented, write_entry
from twelvefold.cli.output import Style
from twelvefold.cli.transcript import Transcript, waiting_text
from twelvefold.core.events import ChildrenStarted
from twelvefold.core.ids import CallId, RunId, ThreadId
from twelvefold.core.ports import Release
from twelvefold.core.thread import Call
from twelvefold.engine.waiting_calls import WaitingCall
from twelvefold.services.model.scripted import calls, says
from twelvefold.services.store.migrate import migrate

ROOT, CHILD = (RunId(ThreadId(f"{number:044x}"), 1) for number in (1, 2))


def test_each_line_of_a_child_is_indented() -> None:
    written: list[str] = []

    def write(text: str, style: Style = "") -> None:
        written.append(text)

    write_indented = indented(write)
    for text in ("a\nb", "c\n", "\n", "d"):
        write_indented(text, "")

    assert "".join(written) == "    a\n    bc\n\n    d"


def test_a_run_that_waits_names_the_call_below_it() -> None:
    waits = ChildrenStarted(CallId("2.0"), "clerk", (str(CHILD),))
    thread = thread_of(asked(), called("clerk"), waits)
    call = Call(CallId("4.0"), "pay", '{"amount":7}', "c1", "asked")

    assert waiting_text(thread, ROOT) == f"waiting for run {CHILD}"
    below = waiting_text(thread, ROOT, [WaitingCall(CHILD, "clerk", call)])
    assert below.startswith("waiting for approval of pay")
    assert f"twelvefold runs approve {CHILD} --call 4.0" in below


async def test_a_transcript_has_those_of_the_runs_below(tmp_path: Path) -> None:
    path, written = tmp_path / "shop.db", list[str]()
    await migrate(f"sqlite:///{path}")
    stage = Stage(path)
    services = firm(stage, calls(("clerk", {"input": "a lamp"})), says("Done."))
    await services.store.run_script(SCHEMA)
    await services.store.add_release(Release("test", "0.1.0", "", LEVEL, LEVEL))
    outcome = await run_boss(services)

    def write(text: str, style: Style = "") -> None:
        written.append(text)

    transcript = Transcript(write)
    for entry in await stage.entries(outcome.run):
        await write_entry(services.store, entry, transcript, write)
    await stage.close()

    lines = "".join(written).splitlines()
    assert any(line.startswith("    ") and "I bought a lamp." in line for line in lines)
    assert any(not line.startswith(" ") and "Done." in line for line in lines)
