"""Errors as responses: the envelope of the OpenAI API, the status, and whether to retry.

Both official SDKs repeat a POST after 408, 409, 429 and 5xx. `x-should-retry: false` prevents this
where the request may have taken effect. Source: `_should_retry` in openai-python and -node.
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
    InputRefused,
    InsufficientQuota,
    MigrationUnfinished,
    NotFound,
    PriceUnknown,
    RequestError,
    StaleRun,
    StepUnderWay,
    StoreUnavailable,
)

CONVERSATION_TOO_LARGE = "conversation_too_large"
INSUFFICIENT_QUOTA = "insufficient_quota"
"""The code of a budget without room, also as the reason of a run's end."""
RESERVED_RETRY_S = 10
"""When to retry if model calls in progress have reserved the rest of a budget."""
_TYPES = {403: "permission_error", 429: "rate_limit_error"}


class ApiError(RequestError):
    """An error response.

    `param` names the invalid parameter. `wait_s` is when to retry. Without `repeat`, SDKs do not
    repeat the request.
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
        self.headers = {**(headers or {}), **_retry_headers(wait_s, repeat)}

    @property
    def body(self) -> dict[str, Any]:
        """The envelope. It always has all four fields."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


def _type_of(status: int) -> str:
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _retry_headers(wait_s: float | None, repeat: bool) -> dict[str, str]:
    headers = {} if repeat else {"x-should-retry": "false"}
    if wait_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait_s)))
    return headers


def error_response(error: ApiError) -> Response:
    """Return the error as a response."""
    return json_response(error.body, error.status, error.headers)


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with a JSON body."""
    return Response(
        msgspec.json.encode(value), status, headers=headers, media_type="application/json"
    )


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """Return the response to an unknown path or method, for which Starlette raises."""
    if not isinstance(error, HTTPException):
        raise error
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        return error_response(ApiError(404, f"invalid URL ({where})", code="unknown_url"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods(request))
        message = f"not allowed here ({where}); use {allowed}"
        headers = {"allow": allowed}
        return error_response(ApiError(405, message, code="method_not_allowed", headers=headers))
    return error_response(ApiError(error.status_code, str(error.detail), headers=error.headers))


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes of this path; Starlette returns those of the first one."""
    routes: list[BaseRoute] = request.app.routes
    matching = (route for route in routes if route.matches(request.scope)[0] != Match.NONE)
    return sorted(
        {method for route in matching for method in getattr(route, "methods", None) or ()}
    )


def api_error(error: Exception, *, may_repeat: bool) -> ApiError:
    """Return the error response of any exception; an unexpected one is a 500.

    `may_repeat`: the request has no further effect if a client repeats it.
    """
    match error:
        case ApiError():
            return error
        case NotFound():
            return ApiError(404, str(error), code="not_found")
        case ConversationTooLarge():
            return ApiError(400, str(error), code=CONVERSATION_TOO_LARGE, param="items")
        case InputRefused():
            return ApiError(400, str(error), code=error.code)
        case Conflict() | StaleRun():
            return ApiError(409, str(error), code="conflict", wait_s=1)
        case RequestError():
            return _request_error(error)
        case StepUnderWay() | MigrationUnfinished():
            return _unavailable(str(error), may_repeat)
        case StoreUnavailable():
            return _unavailable("the database does not answer; try again in a moment", may_repeat)
        case _:
            message = "internal error; the server's log has the reason under this x-request-id"
            return ApiError(500, message, code="server_error", repeat=False)


def _request_error(error: RequestError) -> ApiError:
    """Return the response to a request that is invalid, or that a budget refuses."""
    match error:
        case InsufficientQuota():
            wait_s = RESERVED_RETRY_S if error.is_reserved else error.renews_in_s
            return insufficient_quota(str(error), wait_s)
        case PriceUnknown():
            return ApiError(400, str(error), code="price_unknown")
        case _:
            return ApiError(400, str(error))


def insufficient_quota(message: str, wait_s: float | None = None) -> ApiError:
    """Return the error of a budget without room, in the form of OpenAI's API."""
    code = INSUFFICIENT_QUOTA
    return ApiError(429, message, code=code, type=code, wait_s=wait_s, repeat=False)


def _unavailable(message: str, may_repeat: bool) -> ApiError:
    return ApiError(503, message, code="service_unavailable", wait_s=1, repeat=may_repeat)


def raise_invalid(message: str, at: str, code: str = "invalid_value") -> NoReturn:
    """Raise ApiError with 400 for one parameter of a request."""
    raise ApiError(400, f"{at}: {message}", code=code, param=at)
