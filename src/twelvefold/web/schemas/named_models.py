"""The names of a request's `model`: a workflow, or one of its models."""

from collections.abc import Mapping

from twelvefold.core import Workflow
from twelvefold.web.http import ApiError, abbreviate


def workflow_of(name: str, workflows: Mapping[str, Workflow]) -> Workflow:
    """Return the workflow that a model's name stands for. Raises ApiError."""
    return _workflow_and_model(name, workflows)[0]


def chosen_model(name: str, workflows: Mapping[str, Workflow]) -> str:
    """Return the model that a name chooses, "" for that of the workflow. Raises ApiError."""
    return _workflow_and_model(name, workflows)[1]


def _workflow_and_model(name: str, workflows: Mapping[str, Workflow]) -> tuple[Workflow, str]:
    if workflow := workflows.get(name):
        return workflow, ""
    # The names of models have no slash, those of workflows may.
    workflow_name, _, model = name.rpartition("/")
    if (workflow := workflows.get(workflow_name)) and model in workflow.models:
        return workflow, model
    known = ", ".join(model_names(workflows))
    message = f"there is no model {abbreviate(name)}; there are: {known}"
    raise ApiError(404, message, code="model_not_found", param="model")


def model_names(workflows: Mapping[str, Workflow]) -> list[str]:
    """Return the names that `model` may have: each workflow, and its models for callers."""
    return [
        name
        for workflow in workflows.values()
        for name in (workflow.name, *(f"{workflow.name}/{model}" for model in workflow.models))
    ]
