"""Errors as API clients read them: OpenAI's envelope, the status, and whether to ask again.

Both official SDKs repeat a POST by themselves after 408, 409, 429 and 5xx; `x-should-retry: false`
keeps them from it where work may have begun. Source: `_should_retry` in openai-python and -node.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NoReturn

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from twelvefold.errors import (
    Conflict,
    ConversationTooLarge,
    NotFound,
    RequestError,
    StaleRun,
    StepUnderWay,
    StoreUnavailable,
)

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "DELETE"}
"""Whoever sends one of these twice has done it once."""
CONVERSATION_TOO_LARGE = "conversation_too_large"
_SHOWN_CHARS = 60
_TYPES = {403: "permission_error", 429: "rate_limit_error"}


class ApiError(RequestError):
    """A request that is refused, with what its sender is told.

    `param` names the parameter that was wrong, `wait_s` says when to try again. `repeat` False
    keeps SDKs from repeating it by themselves.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        type: str = "",
        wait_s: float | None = None,
        repeat: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.type = type or _type_of(status)
        self.headers = {**(headers or {}), **_hints(wait_s, repeat)}

    @property
    def body(self) -> dict[str, Any]:
        """The envelope; all four fields are always there."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


def _type_of(status: int) -> str:
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _hints(wait_s: float | None, repeat: bool) -> dict[str, str]:
    hints = {} if repeat else {"x-should-retry": "false"}
    if wait_s is not None:
        hints["retry-after"] = str(max(1, math.ceil(wait_s)))
    return hints


def refusal(error: ApiError) -> Response:
    """The error as an answer."""
    return json_response(error.body, error.status, error.headers)


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer whose body is JSON."""
    return Response(
        msgspec.json.encode(value), status, headers=headers, media_type="application/json"
    )


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette's router says no to: paths and methods that are not there."""
    if not isinstance(error, HTTPException):
        raise error
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return refusal(ApiError(404, f"invalid URL ({where})", code="unknown_url"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods(request))
        message = f"not allowed here ({where}); use {allowed}"
        headers = {"allow": allowed}
        return refusal(ApiError(405, message, code="method_not_allowed", headers=headers))
    return refusal(ApiError(error.status_code, str(error.detail), headers=error.headers))


def _methods(request: Request) -> list[str]:
    """What is allowed at this path, by whichever route: Starlette itself tells only the first's."""
    routes: list[BaseRoute] = request.app.routes
    matching = (route for route in routes if route.matches(request.scope)[0] != Match.NONE)
    return sorted(
        {method for route in matching for method in getattr(route, "methods", None) or ()}
    )


def api_error(error: Exception, method: str, *, once: bool = False) -> ApiError:
    """What any exception means to a client; one that nobody foresaw is a 500.

    `once`: however often it is sent, it is done once, as with an Idempotency-Key that is heard.
    """
    repeat = once or method in SAFE_METHODS
    match error:
        case ApiError():
            return error
        case NotFound():
            return ApiError(404, str(error), code="not_found")
        case ConversationTooLarge():
            return ApiError(400, str(error), code=CONVERSATION_TOO_LARGE, param="items")
        case Conflict() | StaleRun():
            return ApiError(409, str(error), code="conflict", wait_s=1)
        case RequestError():
            return ApiError(400, str(error))
        case StepUnderWay():
            return ApiError(503, str(error), code="service_unavailable", wait_s=1, repeat=repeat)
        case StoreUnavailable():
            message = "the database does not answer; try again in a moment"
            return ApiError(503, message, code="service_unavailable", wait_s=1, repeat=repeat)
        case _:
            message = "the server failed; its log says why, under this answer's x-request-id"
            return ApiError(500, message, code="server_error", repeat=False)


def raise_invalid(message: str, at: str, code: str = "invalid_value") -> NoReturn:
    """Raise ApiError with 400 for one parameter of a request."""
    raise ApiError(400, f"{at}: {message}", code=code, param=at)


def abbreviate(value: object) -> str:
    """Return the value's repr, cut after 60 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
