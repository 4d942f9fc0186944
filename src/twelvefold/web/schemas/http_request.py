"""The parts of a request that every endpoint reads alike: its body as JSON, and its headers."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import msgspec
from starlette.requests import Request

from twelvefold.core import IdempotentRequest
from twelvefold.web.http import ApiError, abbreviate, parse_json
from twelvefold.web.schemas.decode import decode
from twelvefold.web.schemas.types import ToolItems

T = TypeVar("T")
HOPS = "x-twelvefold-hops"
TOOL_ITEMS = "Twelvefold-Tool-Items"
MAX_HOPS = 5
"""Instances in a row that a request passes through; more are taken for a cycle."""
_HOPS = re.compile(r"[0-9]{1,3}")
_KEY = re.compile(r"[!-~]{1,255}")


async def json_body(request: Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """Return the JSON object in a request's body. Raises ApiError if there is none."""
    # Not `body()`, which would keep the bytes as long as the request is answered.
    body = b"".join([piece async for piece in request.stream()])
    if may_be_empty and not body.strip():
        return {}
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (
        media.startswith("application/") and media.endswith("+json")
    ):
        message = "the body must be JSON, with the header `Content-Type: application/json`"
        raise ApiError(415, message, code="unsupported_media_type")
    value = parse_json(body)
    if type(value) is not dict:
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return value


async def read_body(request: Request, kind: type[T], *, may_be_empty: bool = False) -> T:
    """Return the struct that a request's body describes. Raises ApiError."""
    return decode(await json_body(request, may_be_empty=may_be_empty), kind)


def hops_of(headers: Mapping[str, str]) -> int:
    """Return how many instances the request has passed through. Raises ApiError above MAX_HOPS."""
    value = headers.get(HOPS, "")
    hops = int(value) if _HOPS.fullmatch(value) else 0
    if hops > MAX_HOPS:
        message = f"the request has come through {hops} instances; {MAX_HOPS} is the most"
        raise ApiError(400, message, code="too_many_hops")
    return hops


def parse_idempotency_key(
    headers: Mapping[str, str], endpoint: str, body: Mapping[str, Any]
) -> IdempotentRequest | None:
    """Return the request's Idempotency-Key and a hash of its body. Raises ApiError."""
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "Idempotency-Key must be 1 to 255 visible ASCII characters"
        raise ApiError(400, message, code="invalid_value", param="Idempotency-Key")
    # The order of an object's members has no meaning, so the hash does not depend on it.
    canonical = msgspec.json.encode([endpoint, body], order="deterministic")
    return IdempotentRequest(key, hashlib.sha256(canonical).hexdigest())


def tool_items_of(headers: Mapping[str, str]) -> str:
    """Return how to show the server's tool calls; "" for the server's setting. Raises ApiError."""
    wanted = headers.get(TOOL_ITEMS, "")
    if wanted and wanted not in get_args(ToolItems):
        known = ", ".join(get_args(ToolItems))
        message = f"{TOOL_ITEMS} must be one of {known}, not {abbreviate(wanted)}"
        raise ApiError(400, message, code="invalid_value", param=TOOL_ITEMS)
    return wanted
