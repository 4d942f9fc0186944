"""Runs as operators see them."""

from typing import Literal

from msgspec import Struct

from twelvefold.core import RunStatus
from twelvefold.web.schemas.objects import Answer


class AdminUsage(Answer):
    """Tokens of a run, and their cost if the prices of its models are known."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class AdminRun(Struct):
    """A run of any principal.

    `id` is the id of its first response, `thread` that of its conversation, `run` its number there.
    `attempts` counts the claims since its last entry. `parent` is the run that started it.
    """

    id: str
    object: Literal["admin.run"]
    thread: str
    run: int
    workflow: str
    principal: str
    status: RunStatus
    error: str
    attempts: int
    created_at: float
    updated_at: float
    finished_at: float | None
    usage: AdminUsage
    parent: str | None
    release: str
    background: bool
    leased: bool
    cancel_requested: bool


class AdminRunList(Answer):
    """A page of runs. It may have fewer than `limit` although there are more.

    `next` is the value of `after` for the next page, null at the end.
    """

    object: Literal["list"]
    data: list[AdminRun]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
