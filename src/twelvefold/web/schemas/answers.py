"""The body of `POST /v1/answers`, which is no part of the OpenAI API."""

from typing import Annotated, Any

from msgspec import Meta

from twelvefold.web.schemas.types import RequestObject


class AnswerQuestion(RequestObject):
    """The answer to a question of a tool."""

    call_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="The id of the question, `ask_…`.")
    ]
    output: Annotated[Any, Meta(description="A JSON value of the type that the question asks for.")]
