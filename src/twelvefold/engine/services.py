"""What the engine is given: the attached services and the workflows, opened by `boot`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twelvefold.core.budget import Limits
from twelvefold.core.ports import Ids, Model, Store
from twelvefold.core.workflow import Workflow
from twelvefold.engine.shield import ExitLimit


@dataclass(frozen=True)
class Services:
    """One process's view of the world; `release` is written into every run that it starts.

    `exit_limit` begins when the process stops.
    """

    store: Store
    model: Model
    workflows: Mapping[str, Workflow]
    ids: Ids
    limits: Limits
    release: str
    exit_limit: ExitLimit = field(default_factory=ExitLimit, compare=False)
