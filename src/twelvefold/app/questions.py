"""A question that waits for a person, as a caller of an app sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from twelvefold.core import CallId, OpenQuestion, RunId, ThreadId, abbreviate, name_problem
from twelvefold.core.waits import time_of
from twelvefold.engine import Services
from twelvefold.errors import RequestError

MAX_LIMIT = 10_000
"""The most questions that one call returns."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a tool that waits for the answer of `person`.

    `call` of the run `run`, of the workflow `workflow`, asks it. `App.answer` takes the answer, a
    JSON value of the JSON Schema `schema`. Times are in UTC; the question ends at `until`.

    Example:
        from examples.shopping import workflow
        from twelvefold import Question, Settings, SyncApp

        def show(question: Question) -> None:
            print(question.run, question.call, question.question, question.schema)

        with SyncApp([workflow], settings=Settings(database_url="sqlite:///shop.db")) as app:
            for question in app.questions(principal="bob"):
                show(question)
    """

    run: str
    call: str
    question: str
    schema: Mapping[str, Any]
    workflow: str
    person: str
    asked_at: datetime
    until: datetime | None = None


async def read_questions(
    services: Services,
    principal: str,
    *,
    limit: int,
    after: Question | None = None,
    newest_first: bool = True,
) -> list[Question]:
    """Return questions that wait for a principal.

    Raises RequestError for an invalid argument, NotFound if `after` never waited for the principal.
    """
    _check(principal, limit, after)
    place: tuple[ThreadId, CallId] | None = None
    if after is not None:
        place = RunId.parse(after.run).thread, CallId(after.call)
    found = await services.retry(
        lambda: services.store.questions(
            principal, limit=limit, after=place, newest_first=newest_first
        )
    )
    return [_question(one) for one in found]


def _check(principal: object, limit: object, after: object) -> None:
    if problem := name_problem("principal", principal):
        raise RequestError(problem)
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        rule = f"pass a whole number, 1 to {MAX_LIMIT}"
        raise RequestError(f"limit is {abbreviate(limit)}; {rule}")
    if not isinstance(after, Question | None):
        raise RequestError(f"after is {abbreviate(after)}; pass a question of this list")


def _question(asked: OpenQuestion) -> Question:
    wait = asked.wait
    return Question(
        str(asked.run),
        asked.call,
        wait.question,
        wait.schema or {},
        asked.workflow,
        asked.person,
        time_of(asked.asked_us),
        time_of(wait.until_us) if wait.until_us else None,
    )
