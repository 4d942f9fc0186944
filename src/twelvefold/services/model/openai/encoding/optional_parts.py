"""Parts of a request that a server may refuse and that can be left out.

A refusal counts only if it names the parameter: in a field for that (`param`, `loc`, …) or in one
of the sentences that servers use for an unknown parameter. A word anywhere in its text does not.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

Body = dict[str, Any]
Path = tuple[str, ...]
"""Names on the way to a parameter, without the positions in lists."""


def _is_never(_path: Path) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Part:
    """A part at `path` in the body of a request.

    `ours`: no caller and no setting asked for it, so that a complaint about its value counts, too.
    `always`: what is refused once will be refused in every other request. `also` says of another
    path whether a complaint about that is one about this part; `alias` is its name elsewhere.
    `take_out` removes it from a body in a way of its own, and says whether it was there.
    """

    name: str
    path: Path
    ours: bool = False
    always: bool = True
    alias: str = ""
    also: Callable[[Path], bool] = _is_never
    take_out: Callable[[Body], bool] | None = None

    def is_named_by(self, path: Path) -> bool:
        """Whether a refusal of this path is one of the part."""
        if path in ((self.name,), (self.alias,)) or self.also(path):
            return True
        if len(self.path) == 1:
            return path[0] == self.path[0]
        # Servers put names of their own types between; a schema's properties have any name.
        ends_alike = (path[0], path[-1]) == (self.path[0], self.path[-1])
        return path == self.path[-1:] or (ends_alike and "properties" not in path)

    def removed_from(self, body: Body) -> bool:
        """Take the part out of a body; whether it was there."""
        return self.take_out(body) if self.take_out else _removed(body, self.path)


def _names_a_schema(path: Path) -> bool:
    return path[0] == "tools" and "parameters" in path


def _not_strict(body: Body) -> bool:
    functions = [tool.get("function") or tool for tool in body.get("tools") or ()]
    strict = [function for function in functions if function.get("strict")]
    for function in strict:
        # Left out it would be true: that is what the Responses API takes it for.
        function["strict"] = False
    return bool(strict)


STRICT_SCHEMAS = Part(
    "strict schemas",
    ("tools", "parameters"),
    ours=True,
    also=_names_a_schema,
    take_out=_not_strict,
)
"""What a server refuses as a schema that strict mode does not take, and takes otherwise."""


def leave_out(body: bytes, parts: Iterable[Part], without: frozenset[str]) -> bytes:
    """The body without the parts of these names."""
    if not without:
        return body
    decoded: Body = msgspec.json.decode(body)
    for part in parts:
        if part.name in without:
            part.removed_from(decoded)
    return msgspec.json.encode(decoded)


def refused_parts(error: Mapping[str, Any], body: bytes, parts: Iterable[Part]) -> tuple[Part, ...]:
    """Those of the parts that are in the body and that the error refuses."""
    paths = _paths_of(error)
    if not paths:
        return ()
    about_value = _is_about_a_value(error)
    decoded: Body = msgspec.json.decode(body)
    found: list[Part] = []
    for part in parts:
        named = {path for path in paths if part.is_named_by(path)}
        if named and not (about_value and not part.ours) and part.removed_from(decoded):
            found.append(part)
            # The first part that fits is the closest one.
            paths -= named
    return tuple(found)


def _removed(value: Any, path: Path) -> bool:
    if isinstance(value, list):
        removed_from = [_removed(one, path) for one in value]
        return any(removed_from)
    if not isinstance(value, dict) or path[0] not in value:
        return False
    if len(path) == 1:
        del value[path[0]]
        return True
    removed = _removed(value[path[0]], path[1:])
    if removed and not value[path[0]]:
        del value[path[0]]
    return removed


_VALUE = re.compile(r"above_max|below_min|invalid_type|invalid_value|out_of_range|too_l(ong|arge)")


def _is_about_a_value(error: Mapping[str, Any]) -> bool:
    """Whether the parameter is known and its value is wrong: then its caller has to mend it."""
    return _VALUE.search(str(error.get("code"))) is not None


# Which parameters an error names

_FIELDS = {
    *("param", "parameter", "loc", "path", "field", "property", "argument", "instancePath"),
    *("additionalProperty", "unsupported_parameter"),
}
_NAME = r"[\w.\[\]$-]+"
_QUOTED = rf"[\"'`\u201c\u2018]({_NAME})[\"'`\u201d\u2019]"
_PARAMETER = r"(?:parameter|param|argument|arg|field|key|property|option|attribute)(?:s|\(s\)|ies)?"
_LIST = (
    r"\s*(?:supplied|provided|in object|in request|in body|found|passed)?\s*:?\s*(?P<list>.{1,200})"
)
_LISTS = (
    # Unknown parameter: 'x'. Unrecognized request argument supplied: x. unknown field "x"
    r"(?:unknown|unsupported|unrecogni[sz]ed|unexpected|invalid|illegal|disallowed|extra|undefined)"
    rf" (?:request |body |input |keyword |optional |json )*{_PARAMETER}(?!\w){_LIST}",
    # openai does not support parameters: ['x'], for model=m
    rf"(?:does not|doesn't|do not) support (?:the )?(?:following )?{_PARAMETER}(?!\w){_LIST}",
    # Additional properties are not allowed ('x' was unexpected)
    r"additional properties are not allowed \((?P<list>[^)]{1,200})",
)
_IS_NOT = (
    rf"\s+(?:{_PARAMETER}\s+)?(?:is|are|was|were)\s+(?:currently |yet )?"
    r"(?:not (?:currently |yet )?(?:supported|allowed|permitted|recogni[sz]ed|available|expected|"
    r"implemented|a (?:valid|supported|known)\b)|unsupported|unknown|unexpected|unrecogni[sz]ed|"
    r"deprecated)"
)
_SINGLE = (
    # Unsupported value: 'temperature' does not support 0.2 with this model
    rf"{_QUOTED} does not support\b",
    # property 'x' is unsupported. `x` is not supported with this model
    rf"(?<!tool )(?<!function )(?<!model )(?<!value )(?<!type )(?<!role ){_QUOTED}{_IS_NOT}",
    # The parameter x is not supported
    rf"{_PARAMETER} [\"'`]?({_NAME}?)[\"'`]?{_IS_NOT}",
    # x is not supported by this model, as a sentence
    rf"(?:^|[:;.]\s+)(?:the )?({_NAME}?)(?:=[\w.]+)?{_IS_NOT}",
    # This model does not support the `x` parameter
    rf"(?:does not|doesn't) support (?:the )?{_QUOTED}",
    # tools.0.strict: Extra inputs are not permitted
    rf"({_NAME}):?\s+extra (?:inputs|fields) (?:are )?not permitted",
    # Extra inputs are not permitted, field: 'x', value: 1
    rf"extra (?:inputs|fields) (?:are )?not permitted, field: {_QUOTED}",
    # Argument not supported on this model: x
    rf"{_PARAMETER} not supported (?:on|by|with|for|in) this \w+: ({_NAME})",
    # m models don't support x=0.2. The model does not support setting x
    r"(?:do|does)(?: not|n't) support (?:the )?(\w+)=",
    rf"(?:do|does)(?: not|n't) support setting (?:the )?[\"'`]?({_NAME})",
    # `x` may only be set to 1 when thinking is enabled. invalid x: only 1 is allowed
    rf"{_QUOTED} (?:may|can|must) only be (?:set to )?[\d.]+",
    r"\binvalid (\w+): only [\d.]+ is allowed",
    # `x` and `y` cannot both be specified: one of them is enough
    rf"[\"'`][\w.]+[\"'`] and {_QUOTED} cannot both be",
)
_LIST_PATTERNS = tuple(re.compile(one, re.IGNORECASE) for one in _LISTS)
_SINGLE_PATTERNS = tuple(re.compile(one, re.IGNORECASE) for one in _SINGLE)
_NAMED_AT = re.compile(r"unknown name \\*\"(\w+)\\*\"(?: at '([^']*)')?", re.IGNORECASE)
_LOC = re.compile(r"['\"]loc['\"]: ?[\[(]([^\])]*)[\])]")
_MISSES = re.compile(
    # Gemini, DeepSeek and Kimi, of a call that another model has made or a caller has brought along
    r"\bmissing\W+(?:(?:a|an|the|field|required)\W+)*(thought_?signature|reasoning_content)\b|"
    r"\b(thought_?signature|reasoning_content)\W+(?:is |field is )?missing\b|"
    r"\b(reasoning_content)\b.{0,40}\bmust be passed back\b",
    re.IGNORECASE,
)
# Mistral, and its templates elsewhere
_SHORT_IDS = re.compile(r"\bcall ids?\b.{0,120}\blength (?:of )?9\b", re.IGNORECASE | re.DOTALL)
_ITEM = re.compile(r"[\"'`](rs_\w+)[\"'`]")
_BAD_SCHEMA = re.compile(r"invalid schema for function", re.IGNORECASE)
_QUOTED_NAME = re.compile(_QUOTED)
_BETWEEN = re.compile(r"^\s*(?::[^,\]}\"'`]*)?\s*(?:,|and\b)?\s*")
"""What stands between the names of a list: `, `, ` and `, or the value of the one before."""
_MOST_CHARS = 4_000


def _paths_of(error: Mapping[str, Any]) -> set[Path]:
    """The paths that an error names; what it says beside its `param` is within that."""
    param = next(_path_of(error.get("param")), ())
    paths = set(_paths_in(error))
    if not param:
        return paths
    return {path if path[0] == param[0] else (*param, *path) for path in paths}


def _paths_in(error: object, *, key: str = "") -> Iterator[Path]:
    """The paths that an error object names, in its fields and in its sentences."""
    if isinstance(error, Mapping):
        if "missing" in str(error.get("type")):
            return  # what it names is what is not there
        for name, value in error.items():
            yield from _paths_in(value, key=str(name))
    elif key in _FIELDS:
        yield from _path_of(error)
    elif key == "code" and error == "invalid_encrypted_content":
        yield ("input", "encrypted_content")
    elif isinstance(error, list | tuple):
        for one in error:
            yield from _paths_in(one, key=key)
    elif isinstance(error, str):
        yield from _paths_in_sentence(error[:_MOST_CHARS])


def _path_of(found: object) -> Iterator[Path]:
    """The path that stands in a field for it: as text or as a list."""
    text = ".".join(map(str, found)) if isinstance(found, list | tuple) else found
    if not isinstance(text, str):
        return
    names = [name for name in re.split(r"[.\[\]/'\"]+", text) if name and not name.isdigit()]
    if names[:1] in (["body"], ["$"]):
        del names[0]
    if names:
        yield tuple(names)


def _paths_in_sentence(text: str) -> Iterator[Path]:
    for pattern in _LIST_PATTERNS:
        for match in pattern.finditer(text):
            for name in _listed(match["list"]):
                yield from _path_of(name)
    for pattern in _SINGLE_PATTERNS:
        for match in pattern.finditer(text):
            yield from _path_of(match[1])
    for match in _NAMED_AT.finditer(text):
        yield from _path_of(f"{match[2] or ''}.{match[1]}")
    for match in _LOC.finditer(text):
        yield from _path_of([part.strip(" '\"") for part in match[1].split(",")])
    for match in _ITEM.finditer(text):
        yield ("input", match[1])
    yield from _missed_in(text)
    if _BAD_SCHEMA.search(text):
        yield ("tools", "parameters")


def _missed_in(text: str) -> Iterator[Path]:
    """What a sentence says of past calls, as paths of its own: what they lack, or their ids."""
    if _SHORT_IDS.search(text):
        yield ("messages", "short_ids")
    for match in _MISSES.finditer(text):
        name = next(filter(None, match.groups())).lower()
        yield ("messages", "no_reasoning" if name.startswith("reason") else "no_signature")


def _listed(text: str) -> list[str]:
    """The names that a list begins with: `['a', 'b'] for x`, `{'a': 1}`, `"a" and "b"`, `a, b`."""
    opening = text.lstrip(" \t:[({")
    if _QUOTED_NAME.match(opening):
        names: list[str] = []
        while match := _QUOTED_NAME.match(opening):
            names.append(match[1])
            opening = _BETWEEN.sub("", opening[match.end() :], count=1)
        return names
    words = re.match(rf"{_NAME}(?:, ?{_NAME})*", opening)
    return [word.rstrip(".") for word in re.split(r", ?", words[0])] if words else []
