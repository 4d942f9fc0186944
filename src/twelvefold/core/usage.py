"""What runs have used, as the rows of runs have it: tokens by model, and their cost."""

from collections.abc import Callable, Iterable, Mapping
from typing import Self

import msgspec

from twelvefold.core.budget import Price, cost_micro_usd
from twelvefold.core.events import Usage
from twelvefold.core.models import DEFAULT_MODEL

NO_USAGE = Usage()


class RunUsage(Usage, frozen=True, omit_defaults=True):
    """The usage of a run. `by_model` is the part of it that has a named model."""

    by_model: Mapping[str, Usage] = {}

    @classmethod
    def of(cls, usage: Usage, by_model: Mapping[str, Usage]) -> Self:
        """Return the usage with its parts."""
        return cls(**msgspec.structs.asdict(usage), by_model=by_model)

    @property
    def total(self) -> Usage:
        """The usage of all models."""
        return NO_USAGE + self


_DECODER = msgspec.json.Decoder(RunUsage)


def decode_run_usage(text: str) -> RunUsage:
    """Return the usage in a run's row; "" is none."""
    return _DECODER.decode(text) if text else RunUsage()


def without(usage: RunUsage, parts: Iterable[RunUsage]) -> RunUsage:
    """Return the usage without parts that other runs count as theirs."""
    rest, by_model = usage.total, dict(usage.by_model)
    for part in parts:
        rest -= part.total
        for model, of_model in part.by_model.items():
            by_model[model] = by_model.get(model, NO_USAGE) - of_model
    return RunUsage.of(rest, by_model)


def find_cost(usage: RunUsage, price: Callable[[str], Price | None]) -> int | None:
    """Return the cost in micro-dollars; None if the price of a model that was used is unknown."""
    cost, rest = 0, usage.total
    parts = dict(usage.by_model)
    for part in parts.values():
        rest -= part
    for model, part in {**parts, DEFAULT_MODEL: parts.get(DEFAULT_MODEL, NO_USAGE) + rest}.items():
        if part.total_tokens:
            if (found := price(model)) is None:
                return None
            cost += cost_micro_usd(part, found)
    return cost
