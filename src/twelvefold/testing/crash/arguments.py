"""Checks the arguments of `crash_matrix` before it starts a process."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from twelvefold.config import Settings
from twelvefold.core import Workflow, abbreviate, name_problem
from twelvefold.testing.model import as_items

_SETTINGS = {one.name for one in fields(Settings)} - {"database_url", "workflows"}


def parse_workflows(given: object) -> list[Workflow[Any] | str]:
    """Return the workflows of a crash test, or their paths. Raises ValueError."""
    found = [given] if isinstance(given, Workflow | str) else given
    if not isinstance(found, Sequence) or not found or not all(map(_is_workflow, found)):
        raise ValueError(
            f"workflow is {abbreviate(given)}; pass a workflow, its path as in shop:workflow, "
            "or several of them"
        )
    return [*found]


def _is_workflow(one: object) -> bool:
    return isinstance(one, Workflow) or (isinstance(one, str) and bool(one.partition(":")[0]))


def check_scenario(input: object, principal: object) -> None:
    """Raise ValueError unless the input is a message and the principal a name."""
    if not isinstance(input, str) or not input.strip():
        raise ValueError(f"input is {abbreviate(input)}; pass the text of a message")
    if problem := name_problem("principal", principal):
        raise ValueError(problem)


def check_replies(replies: object) -> None:
    """Raise ValueError unless these are replies of a model, or those of each workflow by name."""
    if replies is None:
        return
    for name, those in (replies if isinstance(replies, Mapping) else {"": replies}).items():
        if not isinstance(name, str) or isinstance(those, str) or not isinstance(those, Sequence):
            raise ValueError(
                f"replies is {abbreviate(replies)}; pass a list of replies, or lists by the names "
                "of workflows"
            )
        for one in those:
            _check_reply(one)


def _check_reply(reply: Any) -> None:
    try:
        as_items(reply)
    except TypeError as error:
        raise ValueError(f"replies has {abbreviate(reply)}: {error}") from error


def check_settings(settings: object) -> None:
    """Raise ValueError unless these are fields of `Settings` that a crash test does not set."""
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"settings is {abbreviate(settings)}; pass fields of Settings by name")
    if unknown := [one for one in settings or () if one not in _SETTINGS]:
        raise ValueError(f"settings has {unknown[0]!r}, which no crash test can set")


def check_sendable(scenario: object) -> None:
    """Raise ValueError if the values of a scenario cannot go to another process."""
    try:
        pickle.dumps(scenario)
    except Exception as error:  # a class of the author's may raise anything
        raise ValueError(f"another process cannot get the arguments: {error}") from error
