"""API keys as operators see and make them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from twelvefold.core import NAME_RULE, is_name
from twelvefold.web.schemas.objects import Answer
from twelvefold.web.schemas.types import InvalidValue, RequestObject

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Seconds = Annotated[float, Meta(gt=0, le=3_155_760_000)]
Rate = Annotated[int, Meta(ge=1, le=100_000_000)]
Runs = Annotated[int, Meta(ge=1, le=10_000)]


class CreateKey(RequestObject):
    """A new key; what is left out is not limited, or as the settings say."""

    name: Annotated[Name, Meta(description="Unique among the keys that are not revoked.")]
    principal: Annotated[
        Name | None, Meta(description="The principal to act for; the key's name unless given.")
    ] = None
    scopes: Annotated[
        list[Literal["runs", "approve", "signal", "admin"]] | None,
        Meta(description="Unless given: all but `admin`, which only a key that has it can give."),
    ] = None
    expires_in: Annotated[
        Seconds | None, Meta(description="Seconds from now until the key expires.")
    ] = None
    workflows: Annotated[
        list[Name] | None, Meta(description="The workflows that the key allows.")
    ] = None
    tools: Annotated[list[Name] | None, Meta(description="The tools that the key allows.")] = None
    rate_per_minute: Annotated[
        Rate | None, Meta(description="Requests a minute, over all processes.")
    ] = None
    max_runs: Annotated[Runs | None, Meta(description="Runs at once, over all processes.")] = None
    priority: Annotated[
        int, Meta(ge=0, le=9, description="The head start of its runs in the queue, in minutes.")
    ] = 0

    def __post_init__(self) -> None:
        for member, value in (("name", self.name), ("principal", self.principal)):
            if value is not None and not is_name(value):
                raise InvalidValue(f"must have {NAME_RULE}", member)


class RotateKey(RequestObject):
    """How a key is rotated."""

    overlap: Annotated[
        float,
        Meta(ge=0, le=31_557_600, description="Seconds for which the old secret still works."),
    ] = 0.0
    expires_in: Annotated[
        Seconds | None,
        Meta(description="Seconds from now until the key expires; as before unless given."),
    ] = None


class AdminKey(Struct):
    """A key without its secret. `last_used_at` may be some minutes early.

    `workflows` and `tools` are null if all are allowed. `old_secret_until` is when the secret
    before the last rotation ends.
    """

    id: str
    object: Literal["admin.key"]
    name: str
    principal: str
    scopes: list[str]
    workflows: list[str] | None
    tools: list[str] | None
    rate_per_minute: int | None
    max_runs: int | None
    priority: int
    created_at: float
    last_used_at: float | None
    expires_at: float | None
    old_secret_until: float | None
    revoked_at: float | None


class AdminKeySecret(AdminKey):
    """A key with its new secret, which is not shown again."""

    secret: str


class AdminKeyList(Answer):
    """A page of keys, newest first."""

    object: Literal["list"]
    data: list[AdminKey]
    first_id: str | None
    last_id: str | None
    has_more: bool


class AdminKeyRevoked(Answer):
    """A key that is revoked."""

    id: str
    object: Literal["admin.key.deleted"]
    deleted: bool
