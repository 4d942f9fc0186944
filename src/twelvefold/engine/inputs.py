"""Checks the images and files of a run: whether they are valid, and which models take them."""

from collections.abc import Sequence
from itertools import chain

from twelvefold.core import (
    Item,
    RequestOptions,
    Thread,
    Workflow,
    find_invalid,
    find_unaccepted,
    has_attachments,
    models_of,
)
from twelvefold.engine.services import Services
from twelvefold.errors import InputRefused


def check_attachments(items: Sequence[Item]) -> None:
    """Raise InputRefused for an image or a file that is invalid or too large."""
    if problem := find_invalid(items):
        place = f"item {problem.index}, {problem.at}"
        raise InputRefused(f"{place}: {problem.message}", code=problem.code)


def check_inputs(
    services: Services,
    workflow: Workflow,
    options: RequestOptions,
    before: Thread,
    items: Sequence[Item],
) -> None:
    """Raise InputRefused for images and files that no model of a new run takes.

    `before` is the thread that the run continues, `items` are its input.
    """
    earlier = _items_with_attachments(before)
    choices = services.inputs(workflow, options)
    problem = find_unaccepted(chain(earlier, items), choices)
    if problem is None:
        return
    if problem.index >= len(earlier):
        raise InputRefused(problem.message, code=problem.code)
    raise InputRefused(
        f"an earlier turn of the conversation has images or files: {problem.message}; remove them "
        "from the conversation, or choose a model that takes them",
        code=problem.code,
        earlier=True,
    )


def _items_with_attachments(thread: Thread) -> list[Item]:
    """Return the items of a thread with images or files; without removed ones."""
    items = (item for turn in thread.turns for item in turn.items)
    return [item for item in items if has_attachments((item,))]


def models_for(services: Services, workflow: Workflow, thread: Thread) -> tuple[str, ...]:
    """Return the names of the models of a run, in order, that take its images and files.

    Raises InputRefused if there is none: the settings have changed since the run was written.
    """
    names = models_of(workflow.model, thread.options)
    items = _items_with_attachments(thread)
    choices = services.inputs(workflow, thread.options)
    if problem := find_unaccepted(items, choices):
        raise InputRefused(problem.message, code=problem.code)
    pairs = zip(names, choices, strict=True)
    return tuple(name for name, taken in pairs if find_unaccepted(items, (taken,)) is None)
