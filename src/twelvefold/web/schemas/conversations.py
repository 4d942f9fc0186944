"""The bodies of the requests to `/v1/conversations`.

Source: the Conversations API of OpenAI; forks are this server's own.
"""

from typing import Annotated

from msgspec import Meta

from twelvefold.web.schemas.items import InputItem
from twelvefold.web.schemas.types import Metadata, RequestObject

MAX_ITEMS = 20
"""Items in one request. Source: the Conversations API."""


class CreateConversation(RequestObject):
    metadata: Metadata | None = None
    items: Annotated[
        Annotated[list[InputItem], Meta(max_length=MAX_ITEMS)] | None,
        Meta(description="Items of the conversation before its first turn."),
    ] = None


class UpdateConversation(RequestObject):
    """The metadata that replace the conversation's; null removes all."""

    metadata: Metadata | None


class CreateItems(RequestObject):
    items: Annotated[list[InputItem], Meta(min_length=1, max_length=MAX_ITEMS)]


class ForkConversation(RequestObject):
    """A fork has the entries up to `position`."""

    position: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="The last entry of the journal that the fork has."),
    ]
