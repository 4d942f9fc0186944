"""`/v1/admin/keys`: the API keys of all principals."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.core import DEFAULT_SCOPES, ApiKey
from twelvefold.engine import retry_unavailable
from twelvefold.engine.keys import KeyLimits, check_limits, create_key, revoke_key, rotate_key
from twelvefold.errors import NotFound, RequestError
from twelvefold.web.http import (
    ApiError,
    abbreviate,
    check_list_parameters,
    json_response,
    list_object,
    parse_page,
    raise_invalid,
    require_admin,
)
from twelvefold.web.runs.operator import log_action
from twelvefold.web.schemas import Json, read_body
from twelvefold.web.schemas.admin.keys import CreateKey, RotateKey
from twelvefold.web.state import web_of

SECOND_US = 1_000_000


async def list_keys(request: Request) -> Response:
    """`GET /v1/admin/keys`: newest first, also revoked ones."""
    require_admin(request)
    check_list_parameters(request.query_params, "limit", "after")
    page, store = parse_page(request.query_params), web_of(request).services.store
    try:
        keys = await retry_unavailable(lambda: store.keys(limit=page.limit + 1, after=page.after))
    except NotFound:
        raise_invalid(f"there is no key {abbreviate(page.after)}", "after")
    rows = [key_object(one) for one in keys[: page.limit]]
    return json_response(list_object(rows, has_more=len(keys) > page.limit))


async def create(request: Request) -> Response:
    """`POST /v1/admin/keys`: the answer alone has the secret."""
    caller = require_admin(request)
    body, services = await read_body(request, CreateKey), web_of(request).services
    limits = KeyLimits(
        body.expires_in,
        None if body.workflows is None else tuple(body.workflows),
        None if body.tools is None else tuple(body.tools),
        body.rate_per_minute,
        body.max_runs,
        body.priority,
    )
    try:
        await check_limits(services, limits)
        secret, key = await create_key(
            services.store,
            body.name,
            body.principal or body.name,
            DEFAULT_SCOPES if body.scopes is None else body.scopes,
            limits,
        )
    except RequestError as error:
        raise_invalid(str(error), "name")
    log_action(caller, "create_key", changed=key.id)
    return json_response(key_object(key) | {"secret": secret})


async def rotate(request: Request) -> Response:
    """`POST /v1/admin/keys/{key_id}/rotate`: the answer alone has the new secret."""
    caller = require_admin(request)
    body = await read_body(request, RotateKey, may_be_empty=True)
    id, services = request.path_params["key_id"], web_of(request).services
    try:
        secret, key = await rotate_key(
            services, id, overlap_s=body.overlap, expires_s=body.expires_in
        )
    except NotFound as error:
        raise _not_found(id) from error
    except RequestError as error:
        raise_invalid(str(error), "expires_in")
    log_action(caller, "rotate_key", changed=key.id)
    return json_response(key_object(key) | {"secret": secret})


async def revoke(request: Request) -> Response:
    """`DELETE /v1/admin/keys/{key_id}`: revokes a key; may be repeated."""
    caller = require_admin(request)
    id, services = request.path_params["key_id"], web_of(request).services
    try:
        await revoke_key(services.store, id)
    except NotFound as error:
        raise _not_found(id) from error
    log_action(caller, "revoke_key", changed=id)
    return json_response({"id": id, "object": "admin.key.deleted", "deleted": True})


def _not_found(id: str) -> ApiError:
    return ApiError(404, f"there is no key {abbreviate(id)}", code="key_not_found")


def key_object(key: ApiKey) -> Json:
    """Return a key for an operator."""
    return {
        "id": key.id,
        "object": "admin.key",
        "name": key.name,
        "principal": key.principal,
        "scopes": key.scopes,
        "workflows": key.workflows,
        "tools": key.tools,
        "rate_per_minute": key.rate_per_minute,
        "max_runs": key.max_runs,
        "priority": key.priority,
        "created_at": key.created_at_us / SECOND_US,
        "last_used_at": _seconds(key.last_used_at_us),
        "expires_at": _seconds(key.expires_at_us),
        "old_secret_until": _seconds(key.old_until_us),
        "revoked_at": _seconds(key.revoked_at_us),
    }


def _seconds(at_us: int | None) -> float | None:
    return None if at_us is None else at_us / SECOND_US


_PATH = "/v1/admin/keys"
ROUTES: list[BaseRoute] = [
    Route(_PATH, list_keys, methods=["GET"]),
    Route(_PATH, create, methods=["POST"]),
    Route(f"{_PATH}/{{key_id}}/rotate", rotate, methods=["POST"]),
    Route(f"{_PATH}/{{key_id}}", revoke, methods=["DELETE"]),
]
