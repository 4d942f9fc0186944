"""Limits of a run: tokens, money, calls, and the size of its conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from twelvefold.core.events import Usage

BYTES_PER_TOKEN = 3
"""Low on purpose: Chinese has one token a character, which is three bytes of UTF-8; English has
four bytes a token, JSON fewer."""
_MILLION = 1_000_000


class Price(Struct, frozen=True):
    """Micro-dollars per million tokens; cached input has its own price."""

    input: int
    cached_input: int
    output: int


_FREE = Price(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run. None means no limit.

    `deadline_s` counts from the claim of the run. `context_tokens` is the model's window; requests
    stay below it. `result_chars` bounds one tool's result. `max_attempts`: how many processes may
    claim a run in turn and die with it at the same entry. `retry_timeout_s`: how long a step is
    retried while the database reports an error that may last. `conversation_entries` and
    `conversation_bytes` bound a thread's journal, including the threads it was forked from.
    `calls_per_reply`: how many calls of one reply are run. `prices` are those of named models, and
    `price` is that of all other tokens. `window_setting` is the setting of `context_tokens`.
    `max_depth`: how many runs may be below each other under the run of a caller, and
    `max_children`: how many in total. `active_runs_per_key` and `active_runs_per_principal`: how
    many runs all processes drive at once.
    """

    max_steps: int = 50
    deadline_s: float = 600.0
    lease_s: float = 30.0
    run_tokens: int | None = None
    run_micro_usd: int | None = None
    price: Price | None = None
    context_tokens: int = 128_000
    result_chars: int = 65_536
    faults_in_a_row: int = 3
    max_attempts: int = 10
    retry_timeout_s: float = 60.0
    conversation_entries: int = 10_000
    conversation_bytes: int = 16 * 1024 * 1024
    calls_per_reply: int = 32
    prices: Mapping[str, Price] = field(default_factory=dict)
    window_setting: str = "OPENAI_CONTEXT_TOKENS"
    max_depth: int = 5
    max_children: int = 100
    active_runs_per_key: int | None = None
    active_runs_per_principal: int | None = None


def cost_micro_usd(usage: Usage, price: Price) -> int:
    """Return the cost of the replies, rounded up to a whole micro-dollar.

    Source: the `usage` object of the Responses API; `input_tokens` includes the cached ones.
    """
    # Some servers do not count cached tokens as input: the difference must not be negative.
    fresh = max(usage.input_tokens - usage.cached_tokens, 0)
    cost = (
        fresh * price.input
        + usage.cached_tokens * price.cached_input
        + usage.output_tokens * price.output
    )
    return -(-cost // _MILLION)


def run_cost_micro_usd(usage: Usage, by_model: Mapping[str, Usage], limits: Limits) -> int:
    """Return the cost of a run. `by_model` is the part of its usage that has a named model.

    A model without a price costs nothing.
    """
    cost, rest = 0, usage
    for model, part in by_model.items():
        cost += cost_micro_usd(part, limits.prices.get(model, _FREE))
        rest -= part
    return cost + cost_micro_usd(rest, limits.price or _FREE)
