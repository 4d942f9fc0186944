"""Imports the workflows of the settings, with errors that name the line to fix."""

import functools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from twelvefold.core import Workflow
from twelvefold.errors import SettingsError, WorkflowError

_PACKAGE = str(Path(__file__).parents[1])


def load_workflows(paths: Sequence[str]) -> dict[str, Workflow]:
    """Import the workflows at these paths and return them by name, in order.

    Modules may be in the working directory. Raises SettingsError with a line for each bad path.
    """
    if any(not path.startswith("twelvefold.") for path in paths) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    workflows: dict[str, Workflow] = {}
    problems: list[str] = []
    for path in paths:
        try:
            workflow = _load_workflow(path)
        except SettingsError as error:
            problems.extend(error.problems)
            continue
        if workflows.setdefault(workflow.name, workflow) is not workflow:
            problems.append(f"WORKFLOWS: {path}: another workflow is named {workflow.name!r}")
    if problems:
        raise SettingsError(*problems)
    return workflows


def with_started(workflows: Mapping[str, Workflow]) -> dict[str, Workflow]:
    """Return these workflows by name, followed by those that their tools start.

    Raises SettingsError if two different workflows have one name.
    """
    found = dict(workflows)
    waiting = list(workflows.values())
    problems: list[str] = []
    while waiting:
        parent = waiting.pop(0)
        for child in parent.started_workflows:
            known = found.get(child.name)
            if known is None:
                found[child.name] = child
                waiting.append(child)
            elif known is not child:
                problems.append(
                    f"WORKFLOWS: {parent.name} starts a workflow named {child.name!r}, and another "
                    "workflow has this name"
                )
    if problems:
        raise SettingsError(*dict.fromkeys(problems))
    return found


def _load_workflow(path: str) -> Workflow:
    module_name, _, name = path.partition(":")
    module = _import(path, module_name)
    found = getattr(module, name, None)
    if isinstance(found, Workflow):
        return found
    others = [key for key, value in vars(module).items() if isinstance(value, Workflow)]
    problem = (
        f"{name} is of type {type(found).__name__}" if hasattr(module, name) else f"has no {name!r}"
    )
    hint = f"it has {', '.join(others)}" if others else "it has no Workflow"
    file = module.__file__ or "a package without a file"
    raise SettingsError(f"WORKFLOWS: {path}: {problem}; {hint} ({file})")


def _import(path: str, module_name: str) -> ModuleType:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_error(path, error) from error
        raise SettingsError(
            f"WORKFLOWS: {path}: no module {error.name!r} in {os.getcwd()} or installed"
        ) from error
    except Exception as error:  # the author's code may raise anything
        raise _import_error(path, error) from error


def _import_error(path: str, error: Exception) -> SettingsError:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    # Show the author's line, not the line of Twelvefold, `cached_property` or generated dataclass
    # code that raised the error.
    foreign = (_PACKAGE, "<", functools.__file__)
    authors = [one for one in frames if not one.filename.startswith(foreign)]
    last = ((authors or frames) if isinstance(error, WorkflowError) else frames)[-1]
    place = f"{last.filename}, line {last.lineno}"
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    suffix = "" if _has_place(error) else f" ({place})"
    return SettingsError(f"WORKFLOWS: {path}: {type(error).__name__}: {error}{suffix}")


def _has_place(error: Exception) -> bool:
    """Return whether the message ends with a place, which is more exact than any frame."""
    return isinstance(error, WorkflowError) and re.search(r", line \d+\)$", str(error)) is not None
