"""Parts of a request that a server may refuse and that can be left out."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from twelvefold.services.model.openai.encoding.encoded_items import EncodedItems
from twelvefold.services.model.openai.failures import Path, named_parameters

Body = dict[str, Any]


def _matches_nothing(_path: Path) -> bool:
    return False


class OptionalPart(Struct, frozen=True):
    """A part at `path` in the body of a request.

    `set_by_us`: neither the caller nor a setting requested the part, so that an error about its
    value counts as a refusal. `permanent`: a server that refuses it once refuses it in every
    request. `matches` returns whether an error about another path is about this part; `alias` is
    another name of the part. `remove` removes the part from a body if deleting the path is not
    enough, and returns whether the body had it.
    """

    name: str
    path: Path
    set_by_us: bool = False
    permanent: bool = True
    alias: str = ""
    matches: Callable[[Path], bool] = _matches_nothing
    remove: Callable[[Body], bool] | None = None

    def is_named_by(self, path: Path) -> bool:
        """Return whether an error about this path is about the part."""
        if path in ((self.name,), (self.alias,)) or self.matches(path):
            return True
        if len(self.path) == 1:
            return path[0] == self.path[0]
        # Servers insert names of their own types; the properties of a schema have any name.
        ends_alike = (path[0], path[-1]) == (self.path[0], self.path[-1])
        return path == self.path[-1:] or (ends_alike and "properties" not in path)

    def remove_from(self, body: Body) -> bool:
        """Remove the part from a body. Returns whether the body had it."""
        return self.remove(body) if self.remove else _delete(body, self.path)


def _is_schema_path(path: Path) -> bool:
    return path[0] == "tools" and "parameters" in path


def _set_not_strict(body: Body) -> bool:
    functions = [tool.get("function") or tool for tool in body.get("tools") or ()]
    strict = [function for function in functions if function.get("strict")]
    for function in strict:
        # The Responses API defaults to true.
        function["strict"] = False
    return bool(strict)


STRICT_SCHEMAS = OptionalPart(
    "strict schemas",
    ("tools", "parameters"),
    set_by_us=True,
    matches=_is_schema_path,
    remove=_set_not_strict,
)
"""Strict mode of the tools, where the server refuses a schema in strict mode only."""


def build_body(
    head: Body,
    list_name: str,
    items: EncodedItems,
    parts: Iterable[OptionalPart],
    names: frozenset[str],
) -> bytes:
    """Return the body with the list of items at its end, without the parts with these names.

    The list is decoded only for a part that is in it.
    """
    omitted = [part for part in parts if part.name in names]
    body = msgspec.json.encode(head)
    if any(part.path[0] == list_name for part in omitted):
        return _omit(_join(body, list_name, items), omitted)
    return _join(_omit(body, omitted) if omitted else body, list_name, items)


def _join(head: bytes, list_name: str, items: EncodedItems) -> bytes:
    """Return an object with a list of items after its other members."""
    # One join, so that a long history is copied once.
    pieces = [head[:-1], f',"{list_name}":['.encode()]
    for number, part in enumerate(items.parts):
        pieces += (b",", part) if number else (part,)
    return b"".join((*pieces, b"]}"))


def _omit(body: bytes, parts: Iterable[OptionalPart]) -> bytes:
    decoded: Body = msgspec.json.decode(body)
    for part in parts:
        part.remove_from(decoded)
    return msgspec.json.encode(decoded)


def refused_parts(
    error: Mapping[str, Any], body: bytes, parts: Iterable[OptionalPart]
) -> tuple[OptionalPart, ...]:
    """Return the parts of the body that the error refuses."""
    paths = named_parameters(error)
    if not paths:
        return ()
    about_value = _is_about_value(error)
    decoded: Body = msgspec.json.decode(body)
    refused: list[OptionalPart] = []
    for part in parts:
        named = {path for path in paths if part.is_named_by(path)}
        if named and not (about_value and not part.set_by_us) and part.remove_from(decoded):
            refused.append(part)
            # The first matching part is the closest one.
            paths -= named
    return tuple(refused)


def _delete(value: Any, path: Path) -> bool:
    if isinstance(value, list):
        deleted_from = [_delete(one, path) for one in value]
        return any(deleted_from)
    if not isinstance(value, dict) or path[0] not in value:
        return False
    if len(path) == 1:
        del value[path[0]]
        return True
    deleted = _delete(value[path[0]], path[1:])
    if deleted and not value[path[0]]:
        del value[path[0]]
    return deleted


_VALUE_ERROR = re.compile(
    r"above_max|below_min|invalid_type|invalid_value|out_of_range|too_l(ong|arge)"
)


def _is_about_value(error: Mapping[str, Any]) -> bool:
    """Return whether the server knows the parameter and rejects its value."""
    return _VALUE_ERROR.search(str(error.get("code"))) is not None
