"""Sums of usage as operators see them."""

from typing import Literal

from msgspec import Struct

from twelvefold.web.schemas.objects import Answer


class AdminUsageSum(Struct):
    """The runs that ended in one group, and what they used.

    `day`, `workflow` and `principal` are null unless the sums are by them. `failed` are those of
    the runs that failed. `cost_usd` is null if no price is known; runs of models without a known
    price are left out of it.
    """

    object: Literal["admin.usage"]
    day: str | None
    workflow: str | None
    principal: str | None
    runs: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None


class AdminUsageList(Answer):
    """Sums of usage. `has_more`: there are more groups; those with the most tokens are here."""

    object: Literal["list"]
    data: list[AdminUsageSum]
    has_more: bool
