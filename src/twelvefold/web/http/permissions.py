"""Refuses a request whose key does not allow what it does."""

from starlette.requests import Request

from twelvefold.web.http.authentication import (
    ADMIN,
    READ_METHODS,
    Caller,
    caller_of,
    missing_scope,
    principal_of,
)
from twelvefold.web.http.errors import ApiError


def require_workflow(request: Request, workflow: str) -> None:
    """Raise ApiError with 403 unless the request only reads, or its key allows the workflow."""
    if request.method not in READ_METHODS and not caller_of(request).allows_workflow(workflow):
        raise ApiError(
            403, "this API key does not allow this workflow", code="workflow_not_allowed"
        )


def require_scope(request: Request, scope: str) -> None:
    """Raise ApiError unless the request's key has the scope, as `principal_of` does."""
    principal_of(request, scope)


def require_admin(request: Request) -> Caller:
    """Return the caller, whose key has the scope "admin"; also needed to read.

    Raises ApiError: 401 if the request was not authenticated, 403 if its key lacks the scope, or is
    limited to workflows or tools.
    """
    caller = caller_of(request)
    if ADMIN not in caller.scopes:
        raise missing_scope(ADMIN)
    if caller.workflows is not None or caller.tools is not None:
        message = "an API key that is limited to workflows or tools does not reach all runs"
        raise ApiError(403, message, code="workflow_not_allowed")
    return caller
