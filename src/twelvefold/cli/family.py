"""The transcripts of the runs that a run has started, indented under the call that started them."""

from contextlib import suppress

from twelvefold.cli.output import Style, Write
from twelvefold.cli.transcript import Transcript
from twelvefold.core import ChildrenStarted, Entry, RunId, Store
from twelvefold.errors import NotFound

INDENT = "    "


async def write_entry(store: Store, entry: Entry, transcript: Transcript, write: Write) -> None:
    """Write an entry to the transcript, and the runs that it starts, as far as they are now."""
    transcript.recorded(entry)
    if not isinstance(entry.event, ChildrenStarted):
        return
    for run in map(RunId.parse, entry.event.runs):
        with suppress(NotFound):  # it was deleted
            await _write_run(store, run, indented(write))


async def _write_run(store: Store, run: RunId, write: Write) -> None:
    stored = await store.load(run.thread)
    transcript = Transcript(write)
    for entry in stored.entries:
        await write_entry(store, entry, transcript, write)


def indented(write: Write) -> Write:
    """Return a function that writes each line with an indentation, without Markdown."""
    starts_line = True

    def write_indented(text: str, style: Style = "") -> None:
        nonlocal starts_line
        for line in text.splitlines(keepends=True):
            plain: Style = "" if style == "prose" else style
            write(f"{INDENT}{line}" if starts_line and line.strip() else line, plain)
            starts_line = line.endswith("\n")

    return write_indented
