"""Reads a request: its headers, and its body as a struct.

An error names the parameter as the API writes it.

A body has limits on the number and depth of its JSON values. A text of 4 MB can have two million
arrays. Decoding them takes 200 MB, walking through them takes seconds. Counting brackets and commas
first takes milliseconds.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import msgspec
from starlette.requests import Request

from twelvefold.core import KEY_RULE, IdempotentRequest, is_request_key
from twelvefold.web.http import ApiError, abbreviate, raise_invalid
from twelvefold.web.schemas.error_reports import raise_reported
from twelvefold.web.schemas.types import InvalidValue, Path, RequestObject, ToolItems

T = TypeVar("T")
HOPS = "x-twelvefold-hops"
TOOL_ITEMS = "Twelvefold-Tool-Items"
MAX_HOPS = 5
"""Instances in a row that a request passes through; more are taken for a cycle."""
_HOPS = re.compile(r"[0-9]{1,3}")
MAX_DEPTH = 64
"""Nested arrays and objects. The deepest JSON Schema of a tool seen so far has 14 levels."""
MAX_VALUES = 250_000
"""Members of all arrays and objects together: one for every 16 bytes of the longest body."""
_STRUCTURE = b'[]{},"'
_OTHER_BYTES = bytes(set(range(256)) - set(_STRUCTURE))
_BRACES_AS_BRACKETS = bytes.maketrans(b"{}", b"[]")
_decode = msgspec.json.Decoder().decode


def decode(raw: object, kind: type[T]) -> T:
    """Return the struct that a decoded JSON value describes.

    Raises ApiError for the first error in it.
    """
    try:
        value = _convert(raw, kind)
        _check_members(raw, value)
    except InvalidValue as error:
        raise_invalid(str(error), name_of(error.at), error.code)
    return value


def name_of(path: Path) -> str:
    """Return a path as `param` has it, such as `input[0].content`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def _convert(raw: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind, dec_hook=_convert_variant)
    except msgspec.ValidationError as error:
        raise_reported(error, raw, kind)


def _convert_variant(kind: Any, raw: object) -> object:
    """Convert a value to one of the structs of `Variants`."""
    return _convert(raw, kind.variant(raw))


def _check_members(raw: object, value: object) -> None:
    """Raise InvalidValue for a member that its struct does not have."""
    found: list[tuple[Any, object, Path]] = [(raw, value, ())]
    for members, struct, at in found:  # grows by the structs inside
        if isinstance(struct, RequestObject):
            _check_object(members, struct, at)
            for key, member in members.items():
                if isinstance(member, dict | list) and key in struct.__struct_fields__:
                    found.append((member, getattr(struct, key), (*at, key)))
        elif isinstance(struct, list):
            found += [
                (members[index], one, (*at, index))
                for index, one in enumerate(struct)
                if isinstance(one, RequestObject)
            ]


def _check_object(members: Mapping[str, Any], struct: RequestObject, at: Path) -> None:
    config, fields = struct.__struct_config__, struct.__struct_fields__
    if config.tag_field and members.get(config.tag_field) is None:
        raise InvalidValue("is missing", *at, config.tag_field, code=struct.MISSING_TAG)
    for key, member in members.items():
        if key not in fields and key != config.tag_field and member is not None:
            try:
                struct.check_unknown(key, member)
            except InvalidValue as error:
                raise InvalidValue(str(error), *at, *error.at, code=error.code) from None


# --- body and headers of a request --------------------------------------------------------------


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
    if not is_request_key(key):
        message = f"Idempotency-Key must be {KEY_RULE}"
        raise ApiError(400, message, code="invalid_value", param="Idempotency-Key")
    # The order of an object's members has no meaning, so the hash does not depend on it.
    canonical = msgspec.json.encode([endpoint, body], order="deterministic")
    return IdempotentRequest(key, hashlib.sha256(canonical).hexdigest())


def tool_items_of(headers: Mapping[str, str]) -> str:
    """Return how to show the server's tool calls; "" for the server's setting. Raises ApiError."""
    wanted = headers.get(TOOL_ITEMS)
    if wanted is None:
        return ""
    if wanted not in get_args(ToolItems):
        known = ", ".join(get_args(ToolItems))
        message = f"{TOOL_ITEMS} must be one of {known}, not {abbreviate(wanted)}"
        raise ApiError(400, message, code="invalid_value", param=TOOL_ITEMS)
    return wanted


# --- JSON ----------------------------------------------------------------------------------------


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises ApiError: 413 for too many values, 400 for nesting that is too deep or invalid JSON.
    """
    structure = _structure(body)
    if structure.count(b"[") + structure.count(b",") > MAX_VALUES:
        message = f"the body has too many values; the maximum is {MAX_VALUES}"
        raise ApiError(413, message, code="request_too_large")
    try:
        value = _decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from error
    if _is_too_deep(structure):
        raise _too_deep()
    return value


def _structure(text: bytes) -> bytes:
    """Return a JSON text's brackets and commas, with braces as brackets; `b""` if they are few."""
    if sum(text.count(mark) for mark in (b"[", b"{", b",")) <= MAX_DEPTH:
        return b""
    # Without escapes every quote begins or ends a string.
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = unescaped.translate(_BRACES_AS_BRACKETS, delete=_OTHER_BYTES)
    # Most strings have no marks: they are two quotes here. Removing these leaves few to split at.
    return b"".join(marks.replace(b'""', b"").split(b'"')[::2])


def _is_too_deep(structure: bytes) -> bool:
    """Return whether brackets are nested too deeply; the text is valid JSON."""
    brackets = structure.replace(b",", b"")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _too_deep() -> ApiError:
    return ApiError(400, f"the body is nested too deeply; the maximum is {MAX_DEPTH} levels")
