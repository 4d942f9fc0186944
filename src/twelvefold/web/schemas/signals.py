"""The body of `POST /v1/signals`, which is no part of the OpenAI API."""

from typing import Annotated, Any

from msgspec import Meta

from twelvefold.web.schemas.types import InvalidValue, RequestObject

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class SendSignal(RequestObject):
    """An event for the runs of a workflow."""

    workflow: Annotated[Name, Meta(description="The workflow whose runs wait for the event.")]
    key: Annotated[Name, Meta(description="The name of the event, as the tool gave it to `Wait`.")]
    payload: Annotated[
        Any, Meta(description="A JSON value: the result of the call that waits.")
    ] = None

    def __post_init__(self) -> None:
        if not self.key.strip():
            raise InvalidValue("needs a visible character", "key")
