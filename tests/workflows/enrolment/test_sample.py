"""The sample conversation with the demo model on the real engine and real stores."""

import secrets

from twelvefold import Principal
from twelvefold.core.budget import Limits
from twelvefold.core.events import ToolFailed, ToolSucceeded
from twelvefold.core.ids import ThreadId, family_of
from twelvefold.core.ports import NullListener, Store
from twelvefold.core.thread import Thread
from twelvefold.engine.commands import RunRequest, start_run
from twelvefold.engine.drive import drive
from twelvefold.engine.services import Services
from twelvefold.services.model.demo import open_demo
from twelvefold.workflows.enrolment import sample
from twelvefold.workflows.enrolment.workflow import workflow

YOU = Principal("you")


class RandomIds:
    def thread(self) -> ThreadId:
        return ThreadId(secrets.token_hex(22))

    def thread_in_family(self, of: ThreadId) -> ThreadId:
        return ThreadId(f"{family_of(of)}{secrets.token_hex(12)}")


async def run_conversation(store: Store, *lines: str) -> tuple[ThreadId, Thread]:
    """Run a conversation of these messages with the demo model."""
    workflows = {workflow.name: workflow}
    services = Services(store, open_demo(), workflows, RandomIds(), Limits(), "test")
    thread: ThreadId | None = None
    for line in lines:
        items = [{"type": "message", "role": "user", "content": line}]
        driven = await start_run(
            services, RunRequest(workflow=workflow.name, principal=YOU, items=items, thread=thread)
        )
        outcome = await drive(services, driven, NullListener())
        assert outcome.status == "completed", outcome.error
        thread = driven.run.thread
    assert thread
    return thread, outcome.thread


def tools_called(thread: Thread) -> list[str]:
    events = [entry.event for entry in thread.entries]
    return [
        f"{event.tool}!" if isinstance(event, ToolFailed) else event.tool
        for event in events
        if isinstance(event, ToolSucceeded | ToolFailed)
    ]


async def test_the_sample_enrols_finds_a_full_course_and_takes_an_alternative(store: Store) -> None:
    thread_id, thread = await run_conversation(store, *sample.LINES)

    async with store.read() as db:
        changed = await sample.changed_rows(db, YOU, thread_id)
    assert tools_called(thread) == [
        *("find_courses", "get_course", "enrol", "send_welcome"),
        *("get_course", "enrol!", "find_alternatives", "enrol", "send_welcome", "my_enrolments"),
    ]
    assert [(row["section_id"], row["welcomed"]) for row in changed["enrolments"]] == [
        ("DB-102-A", 1),
        ("PY-101-B", 1),
    ]
    assert changed["sections"] == [
        {"id": "DB-102-A", "capacity": 250, "seats_left": 118},
        {"id": "PY-101-B", "capacity": 300, "seats_left": 185},
    ]
    assert [row["kind"] for row in changed["outbox"]] == ["mail", "mail"]


async def test_the_same_student_can_repeat_the_sample(store: Store) -> None:
    await run_conversation(store, *sample.LINES)

    _, thread = await run_conversation(store, *sample.LINES)

    assert tools_called(thread)[:3] == ["find_courses", "get_course", "enrol!"]
    assert thread.status == "completed"


async def test_one_sentence_is_enough(store: Store) -> None:
    _, thread = await run_conversation(
        store, "I want to sign up for a database course under 200 dollars"
    )

    assert tools_called(thread) == ["find_courses", "get_course", "enrol", "send_welcome"]
