"""msgspec's reports of invalid values in the words of the API.

msgspec reports where it failed, such as `$.input[0].content`, and why, in a sentence. This module
translates both: into `param`, and into a `code` of the OpenAI API.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn

import msgspec
from msgspec import inspect

from twelvefold.web.http import abbreviate
from twelvefold.web.schemas.types import FORMS, InvalidValue, Path, RequestObject

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
_type_info = cache(inspect.type_info)


def raise_reported(error: msgspec.ValidationError, raw: object, kind: Any) -> NoReturn:
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
