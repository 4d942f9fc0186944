"""Reads a request: its headers, and its body as a struct.

An error names the parameter as the API writes it.

msgspec reports where it failed, such as `$.input[0].content`, and why, in a sentence. This module
translates both: into `param`, and into a `code` of the OpenAI API.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NoReturn, TypeVar, get_args

import msgspec
from msgspec import inspect
from starlette.requests import Request

from twelvefold.core import KEY_RULE, IdempotentRequest, is_request_key
from twelvefold.web.http import ApiError, abbreviate, parse_json, raise_invalid
from twelvefold.web.schemas.types import FORMS, ToolItems

Path = tuple[str | int, ...]
T = TypeVar("T")
HOPS = "x-twelvefold-hops"
TOOL_ITEMS = "Twelvefold-Tool-Items"
MAX_HOPS = 5
"""Instances in a row that a request passes through; more are taken for a cycle."""
_HOPS = re.compile(r"[0-9]{1,3}")
_NAME_CHARS = 60
_ENTRY = "..."
_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^` ]*)`\Z")
_TYPED = "`, got `"
_MISSING = re.compile("Object missing required field `(.*)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.{3})\]")
_NAMES = {
    "str": "a string",
    "bool": "a boolean",
    "int": "an integer",
    "float": "a number",
    "object": "an object",
    "array": "an array",
    "null": "null",
    # For the member that tells an object's kind, reports have the names of Python.
    "dict": "an object",
    "list": "an array",
    "NoneType": "null",
}
_LIMITS = {
    ("str", "<="): ("must have at most {} character(s)", "string_above_max_length"),
    ("str", ">="): ("must have at least {} character(s)", "invalid_value"),
    ("array", "<="): ("must have at most {} element(s)", "array_above_max_length"),
    ("array", ">="): ("must have at least {} element(s)", "array_below_min_length"),
    ("object", "<="): ("must have at most {} member(s)", "object_above_max_properties"),
    ("int", "<="): ("must be at most {}", "integer_above_max_value"),
    ("int", ">="): ("must be at least {}", "integer_below_min_value"),
    ("float", "<="): ("must be at most {}", "decimal_above_max_value"),
    ("float", ">="): ("must be at least {}", "decimal_below_min_value"),
}
"""Message and code for each limit of a type."""


class InvalidValue(ValueError):
    """A value that msgspec's types cannot refuse; `at` is its path below the struct at fault."""

    def __init__(self, message: str, *at: str | int, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.at: Path = at
        self.code = code


class RequestObject(msgspec.Struct, omit_defaults=True):
    """A JSON object of a request. A member that is null counts as left out.

    `UNSUPPORTED` names members that the OpenAI API has and this server has not, each with the
    values that change nothing and are therefore accepted. `MISSING_TAG` is the code for an object
    without the member that tells its kind.
    """

    UNSUPPORTED: ClassVar[Mapping[str, Sequence[object]]] = {}
    MISSING_TAG: ClassVar[str] = "unsupported_value"

    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        """Raise InvalidValue for a member that is no field."""
        if key not in cls.UNSUPPORTED:
            name = key if len(key) <= _NAME_CHARS else f"{key[:_NAME_CHARS]}…"
            raise InvalidValue("is not known", name, code="unknown_parameter")
        harmless = cls.UNSUPPORTED[key]
        if not any(type(value) is type(one) and value == one for one in harmless):
            raise InvalidValue("is not supported here", key, code="unsupported_parameter")


class OpenObject(RequestObject):
    """A JSON object whose unknown members are ignored."""

    @classmethod
    def check_unknown(cls, key: str, value: object) -> None:
        """Accept every member."""


class Variants(ABC):
    """A JSON object that may be one of several structs, which msgspec cannot tell apart."""

    VARIANTS: ClassVar[Sequence[type[RequestObject]]] = ()

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return other in cls.VARIANTS

    @classmethod
    @abstractmethod
    def variant(cls, raw: object) -> Any:
        """Return the struct for a value, or the union of some. Raises InvalidValue."""


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
        _raise_invalid(error, raw, kind)


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


# --- msgspec's reports ----------------------------------------------------------------------------


def _raise_invalid(error: msgspec.ValidationError, raw: object, kind: Any) -> NoReturn:
    """Raise InvalidValue for a report of msgspec, in the words of the API."""
    report, is_key, path = _split(error)
    if isinstance(cause := error.__cause__, InvalidValue):
        raise InvalidValue(str(cause), *path, *cause.at, code=cause.code) from None
    if cause is not None:
        raise cause
    if is_key:
        raise InvalidValue(f"a key {_limited(report)[0]}", *path) from None
    if path[-1:] == (_ENTRY,):
        path = (*path[:-1], _key_at_fault(path[:-1], raw, kind))
        message, code = _typed(report) if _TYPED in report else _limited(report)
    else:
        missing = _MISSING.fullmatch(report)
        path = (*path, missing[1]) if missing else path
        message, code = _translate(report, path, raw, kind)
    raise InvalidValue(message, *path, code=code) from None


def _split(error: msgspec.ValidationError) -> tuple[str, bool, Path]:
    """Return the sentence of a report, whether it is about a key, and the path that it names."""
    text = str(error)
    found = _PLACE.search(text, len(str(error.__cause__)) if error.__cause__ else 0)
    if found is None:
        return text, False, ()
    steps = (int(at) if at.isdigit() else name or at for name, at in _STEP.findall(found["path"]))
    return text[: found.start()], found["key"] is not None, tuple(steps)


def _translate(report: str, path: Path, raw: object, kind: Any) -> tuple[str, str]:
    """Return the message and the code for a report of msgspec about the value at a path."""
    value, types, around = _locate(raw, kind, path)
    structs = [one.cls for one in around if one.tag_field and (one.tag_field,) == path[-1:]]
    tagged = [one for one in structs if issubclass(one, RequestObject)]
    choices = ", ".join(str(word) for one in types for word in getattr(one, "values", ()))
    if value is None and path and isinstance(path[-1], str):
        code = tagged[0].MISSING_TAG if tagged else "missing_required_parameter"
        return f"is missing{f'; use one of {choices}' if choices else ''}", code
    if tagged and path[-1] == "type":
        return f"{abbreviate(value)} is not supported here; use {choices}", "unsupported_value"
    if report.startswith("Invalid "):
        return f"must be one of {choices}, not {abbreviate(value)}", "invalid_value"
    if " matching regex " in report:
        patterns = (getattr(one, "pattern", None) for one in types)
        form = next(FORMS[pattern] for pattern in patterns if pattern)
        return f"must be {form}, not {abbreviate(value)}", "invalid_value"
    if report == "Number out of range":
        return _limited(f"Expected `float` {'>=' if value < 0 else '<='} a finite number")
    return _typed(report) if _TYPED in report else _limited(report)


def _typed(report: str) -> tuple[str, str]:
    """Translate "Expected `str | null`, got `int`"."""
    wanted, found = re.findall("`(.*?)`", report)
    names = " or ".join(_NAMES[name] for name in wanted.split(" | ") if name != "null")
    return f"must be {names}, not {_NAMES[found]}", "invalid_type"


def _limited(report: str) -> tuple[str, str]:
    """Translate "Expected `str` of length <= 64", "Expected `int` >= 1" and the like."""
    found = re.fullmatch("Expected `(.*)` (?:of length )?([<>]=) (.*)", report)
    if found is None:  # msgspec has no other report for the types of this package
        return report, "invalid_value"
    message, code = _LIMITS[found[1], found[2]]
    return message.format(found[3].removesuffix(".0")), code


# --- the value and the types at a path ------------------------------------------------------------


_type_info = cache(inspect.type_info)


def _locate(
    value: Any, kind: Any, path: Path
) -> tuple[Any, list[inspect.Type], list[inspect.StructType]]:
    """Return the value at a path, the types that it may have, and the structs that it may be in."""
    types, around = list(_alternatives(_type_info(kind))), []
    for step in path:
        around = [one for one in types if isinstance(one, inspect.StructType)]
        chosen = [one for one in around if one.tag and value.get(one.tag_field) == one.tag]
        types = [inner for one in chosen or types for inner in _inside(one, step)]
        value = value.get(step) if isinstance(step, str) else value[step]
    return value, types, around


def _key_at_fault(path: Path, raw: object, kind: Any) -> str:
    """Return the key of the first invalid entry of a mapping of strings: no report names it."""
    entries, types, _ = _locate(raw, kind, path)
    [mapping] = (one for one in types if isinstance(one, inspect.DictType))
    most: int = mapping.value_type.max_length  # type: ignore[attr-defined]  # they are strings
    keys = (key for key, one in entries.items() if type(one) is not str or len(one) > most)
    return str(next(keys))


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    match kind:
        case inspect.UnionType(types=types):
            for one in types:
                yield from _alternatives(one)
        case inspect.Metadata(type=one):
            yield from _alternatives(one)
        case _:
            yield kind


def _inside(kind: inspect.Type, step: str | int) -> Iterator[inspect.Type]:
    match kind:
        case inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            if step == tag_field:
                yield inspect.LiteralType((str(tag),))
            for field in fields:
                if field.encode_name == step:
                    yield from _alternatives(field.type)
        case inspect.ListType(item_type=item):
            yield from _alternatives(item)
        case _:
            pass


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
