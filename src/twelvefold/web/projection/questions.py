"""A question that waits for its person, as an object of the API."""

from twelvefold.core import OpenQuestion
from twelvefold.web.ids import conversation_id, question_id
from twelvefold.web.schemas import Json

MICRO = 1_000_000


def question_object(asked: OpenQuestion) -> Json:
    """Return a question with its schema and its ids, and nothing else of the run."""
    run, wait = asked.run, asked.wait
    return {
        "id": question_id(run.thread, asked.call),
        "object": "question",
        "question": wait.question,
        "schema": wait.schema or {},
        "workflow": asked.workflow,
        "response": str(run),
        "conversation": conversation_id(run.thread),
        "asked_at": asked.asked_us / MICRO,
        "expires_at": wait.until_us / MICRO if wait.until_us else None,
    }
