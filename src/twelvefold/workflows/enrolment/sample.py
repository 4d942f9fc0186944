"""A sample conversation: the messages of a student, and a query for the rows that it changes.

With the built-in demo model it enrols the student, finds a full course, and takes an alternative.
"""

from twelvefold import Principal, ReadOnly
from twelvefold.workflows.enrolment.sql import SQL
from twelvefold.workflows.enrolment.wording import Row

LINES = (
    "Hello! I want to learn programming, for less than 250 dollars.",
    "Sign me up for PY-101, please.",
    "And DB-101. If it is full, take whatever is closest.",
    "What am I enrolled in now?",
)


async def changed_rows(db: ReadOnly, who: Principal, thread: str) -> dict[str, list[Row]]:
    """Return the rows that the conversation of `who` in `thread` has changed, by table."""
    return {
        "enrolments": list(await db.fetch_all(SQL["changed_enrolments"], student=who.id)),
        "sections": list(await db.fetch_all(SQL["changed_sections"], student=who.id)),
        "outbox": list(await db.fetch_all(SQL["changed_outbox"], thread=thread)),
    }
