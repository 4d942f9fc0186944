"""The models of a run: named models, fallback chains, and the limits of each model.

`default` is the model that the variables OPENAI_* describe. The others are those of MODELS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

from msgspec import Struct

from twelvefold.core.budget import Price
from twelvefold.core.events import RequestOptions
from twelvefold.errors import WorkflowError

DEFAULT_MODEL = "default"
"""The name of the model that the variables OPENAI_* describe."""
Cause = Literal["outage", "too_large"]
"""Why the next model is asked: the model is unavailable, or the request exceeds its window."""
DEFAULT_WINDOW_TOKENS = 128_000


@dataclass(frozen=True, slots=True, init=False)
class Fallback:
    """A chain of models: if one gives no reply, the next is asked.

    `models` are names of MODELS, or "default". The next model is asked after the causes in `on`,
    and, with `after_s`, if a model has not completed its reply after so many seconds. The last
    model has no such limit. Every reply starts with the first model again.

    Example:
        from twelvefold import Fallback, Workflow

        chain = Fallback("fast", "careful", after_s=20)
        support = Workflow("support", "You help customers.", model=chain)

    Raises WorkflowError if fewer than two models are given, one is given twice, or a value is
    invalid.
    """

    models: tuple[str, ...]
    after_s: float | None
    on: tuple[Cause, ...]

    def __init__(
        self,
        *models: str,
        after_s: float | None = None,
        on: tuple[Cause, ...] = ("outage", "too_large"),
    ) -> None:
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "after_s", after_s)
        object.__setattr__(self, "on", on)
        if problems := [*_name_problems(models), *_rule_problems(after_s, on)]:
            raise WorkflowError(f"Fallback: {'; '.join(problems)}")


def _name_problems(models: tuple[str, ...]) -> list[str]:
    problems = []
    if len(models) < 2:
        problems.append(f"it has {len(models)} models; give at least two")
    for index, name in enumerate(models):
        if not isinstance(name, str) or not name.strip():
            problems.append(f"{name!r} is not the name of a model")
        elif name in models[:index]:
            problems.append(f"{name!r} is there twice")
    return problems


def _rule_problems(after_s: object, on: object) -> list[str]:
    problems = []
    causes = get_args(Cause)
    if after_s is not None and not _is_limit(after_s):
        problems.append(f"after_s is {after_s}; give seconds above 0")
    if not isinstance(on, tuple):
        return [*problems, f"on is {on!r}; give a tuple of {', '.join(causes)}"]
    problems += [
        f"on has {cause!r}; use {' or '.join(causes)}" for cause in on if cause not in causes
    ]
    if not on and after_s is None:
        problems.append("the next model is never asked; give on or after_s")
    return problems


def _is_limit(after_s: object) -> bool:
    if isinstance(after_s, bool) or not isinstance(after_s, int | float):
        return False
    return 0 < after_s < math.inf


class ModelProfile(Struct, frozen=True):
    """What the settings say about a model beside its address.

    `window_tokens` is its context window. `price` is None if it is unknown or not needed.
    `accepts`: the kinds of input beside text that it takes, as `inputs_of` returns them.
    `max_output_tokens` is the operator's limit of a reply.
    """

    window_tokens: int = DEFAULT_WINDOW_TOKENS
    price: Price | None = None
    accepts: frozenset[str] = frozenset()
    max_output_tokens: int | None = None


def check_models(workflow: str, model: object, models: object) -> None:
    """Raise WorkflowError unless `model` is a name or a chain, and `models` a tuple of names."""
    if not isinstance(model, str | Fallback):
        raise WorkflowError(
            f"workflow {workflow}: model is a name or a Fallback, not {type(model).__name__}"
        )
    if not isinstance(models, tuple) or not all(
        isinstance(one, str) and one.strip() for one in models
    ):
        raise WorkflowError(f"workflow {workflow}: models is a tuple of names, not {models!r}")


def models_of(model: "str | Fallback", options: RequestOptions) -> tuple[str, ...]:
    """Return the names of the models of a run, in the order in which they are asked.

    `model` is that of the workflow. A model that the caller chose is asked alone.
    """
    if options.model:
        return (options.model,)
    return model.models if isinstance(model, Fallback) else (model or DEFAULT_MODEL,)


def unknown_model(name: str, known: Sequence[str]) -> str:
    """Return the problem of a name that is not among the known models, with a hint."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
    return f"there is no model {name!r} in MODELS; {hint}"


def dearest(prices: Mapping[str, Price]) -> Price | None:
    """Return the highest of the prices, each part by itself; None if there are none."""
    if not prices:
        return None
    return Price(
        max(price.input for price in prices.values()),
        max(price.cached_input for price in prices.values()),
        max(price.output for price in prices.values()),
    )
