"""What the model calls under a budget may spend, and what they are charged. Pure.

A call is reserved at its highest cost before the model is called. A token is at least one byte of
the request, so the request's bytes bound the input; the output cap bounds the output. The limits of
one run are in `twelvefold.core.budget`.
"""

from collections.abc import Iterable

import msgspec

from twelvefold.core.budget import Price, cost_micro_usd
from twelvefold.core.conversation.attachments import size_in_window
from twelvefold.core.events import Item, Usage, size_of
from twelvefold.core.ports import ModelRequest
from twelvefold.core.ports.budgets import (
    NOTHING,
    Amount,
    Budget,
    BudgetScope,
    Spender,
)
from twelvefold.core.thread import Thread

OUTPUT_TOKENS = 16_384
"""The output cap of a model call under a budget, if neither caller nor settings have one."""
MIN_OUTPUT_TOKENS = 1_024
"""A cap is lowered to what a budget has left, but not below this."""
OVERHEAD_TOKENS = 512
"""What a server may add to a request: marks between messages, and instructions of its own."""
TOOL_BYTES = 64
"""The members of a tool in a request beside its name, description and parameters."""
MAX_NAME_CHARS = 255
_MILLION = 1_000_000
_FREE = Price(0, 0, 0)
_KINDS = ("principal", "key", "workflow")


def spender_of(thread: Thread) -> Spender:
    """Return whose budgets the model calls of a run draw from: those of the caller's run."""
    above = thread.ancestry
    root = (above.root_workflow or above.workflow) if above else thread.workflow
    return Spender(thread.principal, thread.key_id, tuple({thread.workflow: 0, root: 0}))


def parse_scope(words: Iterable[str]) -> BudgetScope:
    """Return a scope: `all`, or one or more of `principal:P`, `key:ID` and `workflow:W`.

    Raises ValueError.
    """
    given = list(words)
    names: dict[str, str] = {}
    for word in given if given != ["all"] else ():
        kind, _, name = word.partition(":")
        if kind not in _KINDS or not name:
            raise ValueError(f"{word!r} is no scope; use all, principal:P, key:ID or workflow:W")
        if kind in names:
            raise ValueError(f"{kind} is there twice; a budget covers one of each kind")
        if len(name) > MAX_NAME_CHARS:
            raise ValueError(f"{kind} has {len(name)} characters; {MAX_NAME_CHARS} is the most")
        names[kind] = name
    if not given:
        raise ValueError("no scope is given; use all, principal:P, key:ID or workflow:W")
    return BudgetScope(**names)


# --- before a call --------------------------------------------------------------------------------


def input_bound(request: ModelRequest) -> int:
    """Return how many input tokens a request may have: its bytes, and an allowance.

    An image or a file counts as three times its estimated tokens.
    """
    tools = sum(tool.size + size_of(tool.name) + TOOL_BYTES for tool in request.tools)
    options = len(msgspec.json.encode(request.options))
    return input_bound_of(request.items) + size_of(request.instructions) + tools + options


def input_bound_of(items: Iterable[Item]) -> int:
    """Return how many input tokens a request with these items has at least room for."""
    return size_in_window(list(items)) + OVERHEAD_TOKENS


def output_cap(requested: int | None, configured: int | None) -> int:
    """Return the output cap of a call: the smaller of the caller's and the operator's."""
    return min((cap for cap in (requested, configured) if cap), default=OUTPUT_TOKENS)


def least_output(cap: int) -> int:
    """Return the lowest output cap that is worth a call whose own cap is this."""
    return min(cap, MIN_OUTPUT_TOKENS)


def highest_cost(input_tokens: int, output_tokens: int, price: Price | None) -> Amount:
    """Return what a call with so many tokens costs at most; one without a price costs nothing."""
    price = price or _FREE
    dearer = max(price.input, price.cached_input)
    usage = Usage(input_tokens, output_tokens)
    return Amount(usage.total_tokens, cost_micro_usd(usage, Price(dearer, dearer, price.output)))


def fits(budget: Budget, used: Amount, more: Amount) -> bool:
    """Return whether a budget of which so much is used has room for more."""
    total = used.plus(more)
    has_tokens = budget.tokens is None or total.tokens <= budget.tokens
    return has_tokens and (budget.micro_usd is None or total.micro_usd <= budget.micro_usd)


def affordable_output(
    budget: Budget, used: Amount, input_tokens: int, price: Price | None
) -> int | None:
    """Return the largest output cap of a call that fits; negative if none does; None: any fits."""
    caps = []
    if budget.tokens is not None:
        caps.append(budget.tokens - used.tokens - input_tokens)
    if budget.micro_usd is not None and price is not None:
        cost = highest_cost(input_tokens, 0, price).micro_usd
        left = budget.micro_usd - used.micro_usd - cost
        if left < 0 or price.output:
            caps.append(left * _MILLION // max(price.output, 1))
    return min(caps, default=None)


# --- after a call ---------------------------------------------------------------------------------


def charge(reserved: Amount, usage: Usage, price: Price | None, *, is_complete: bool) -> Amount:
    """Return what a call has cost: what the server reports.

    A call that broke off without a complete report is charged in full: the server may bill what
    never arrived. One that was refused, or never reached the server, costs nothing.
    """
    cost = Amount(usage.total_tokens, cost_micro_usd(usage, price or _FREE))
    if is_complete or not usage.estimated or cost == NOTHING:
        return cost
    return Amount(max(cost.tokens, reserved.tokens), max(cost.micro_usd, reserved.micro_usd))
