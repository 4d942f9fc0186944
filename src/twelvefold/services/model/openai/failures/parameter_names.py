"""Finds the parameters of a request that a server names in an error.

Servers name them in a field (`param`, `loc`, …) or in one of the sentences that they use for an
unknown parameter. A parameter's name anywhere else in a text does not count.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
"""Names on the way to a parameter, without the positions in lists."""

_PATH_FIELDS = {
    *("param", "parameter", "loc", "path", "field", "property", "argument", "instancePath"),
    *("additionalProperty", "unsupported_parameter"),
}
_NAME = r"[\w.\[\]$-]+"
_QUOTED = rf"[\"'`\u201c\u2018]({_NAME})[\"'`\u201d\u2019]"
_PARAMETER = r"(?:parameter|param|argument|arg|field|key|property|option|attribute)(?:s|\(s\)|ies)?"
_NAMES = (
    r"\s*(?:supplied|provided|in object|in request|in body|found|passed)?\s*:?\s*(?P<list>.{1,200})"
)
_LIST_SENTENCES = (
    # Unknown parameter: 'x'. Unrecognized request argument supplied: x. unknown field "x"
    r"(?:unknown|unsupported|unrecogni[sz]ed|unexpected|invalid|illegal|disallowed|extra|undefined)"
    rf" (?:request |body |input |keyword |optional |json )*{_PARAMETER}(?!\w){_NAMES}",
    # openai does not support parameters: ['x'], for model=m
    rf"(?:does not|doesn't|do not) support (?:the )?(?:following )?{_PARAMETER}(?!\w){_NAMES}",
    # Additional properties are not allowed ('x' was unexpected)
    r"additional properties are not allowed \((?P<list>[^)]{1,200})",
)
_IS_REFUSED = (
    rf"\s+(?:{_PARAMETER}\s+)?(?:is|are|was|were)\s+(?:currently |yet )?"
    r"(?:not (?:currently |yet )?(?:supported|allowed|permitted|recogni[sz]ed|available|expected|"
    r"implemented|a (?:valid|supported|known)\b)|unsupported|unknown|unexpected|unrecogni[sz]ed|"
    r"deprecated)"
)
_NAME_SENTENCES = (
    # Unsupported value: 'temperature' does not support 0.2 with this model
    rf"{_QUOTED} does not support\b",
    # property 'x' is unsupported. `x` is not supported with this model
    rf"(?<!tool )(?<!function )(?<!model )(?<!value )(?<!type )(?<!role ){_QUOTED}{_IS_REFUSED}",
    # The parameter x is not supported
    rf"{_PARAMETER} [\"'`]?({_NAME}?)[\"'`]?{_IS_REFUSED}",
    # x is not supported by this model, as a sentence
    rf"(?:^|[:;.]\s+)(?:the )?({_NAME}?)(?:=[\w.]+)?{_IS_REFUSED}",
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
_LIST_PATTERNS = tuple(re.compile(one, re.IGNORECASE) for one in _LIST_SENTENCES)
_SINGLE_PATTERNS = tuple(re.compile(one, re.IGNORECASE) for one in _NAME_SENTENCES)
_UNKNOWN_NAME_AT = re.compile(r"unknown name \\*\"(\w+)\\*\"(?: at '([^']*)')?", re.IGNORECASE)
_LOC_TUPLE = re.compile(r"['\"]loc['\"]: ?[\[(]([^\])]*)[\])]")
_MISSING_FIELD = re.compile(
    # Gemini, DeepSeek and Kimi, about a call that another model made or the caller supplied
    r"\bmissing\W+(?:(?:a|an|the|field|required)\W+)*(thought_?signature|reasoning_content)\b|"
    r"\b(thought_?signature|reasoning_content)\W+(?:is |field is )?missing\b|"
    r"\b(reasoning_content)\b.{0,40}\bmust be passed back\b",
    re.IGNORECASE,
)
# Mistral, and its chat templates on other servers
_ID_LENGTH = re.compile(r"\bcall ids?\b.{0,120}\blength (?:of )?9\b", re.IGNORECASE | re.DOTALL)
_REASONING_ITEM_ID = re.compile(r"[\"'`](rs_\w+)[\"'`]")
_BAD_SCHEMA = re.compile(r"invalid schema for function", re.IGNORECASE)
_QUOTED_NAME = re.compile(_QUOTED)
_SEPARATOR = re.compile(r"^\s*(?::[^,\]}\"'`]*)?\s*(?:,|and\b)?\s*")
"""Between two names of a list: `, `, ` and `, or the value of the first name."""
_MAX_SENTENCE_CHARS = 4_000


def named_parameters(error: Mapping[str, Any]) -> set[Path]:
    """Return the paths that an error names. Other paths than its `param` are relative to it."""
    param = next(_path_of(error.get("param")), ())
    paths = set(_paths_in(error))
    if not param:
        return paths
    return {path if path[0] == param[0] else (*param, *path) for path in paths}


def _paths_in(error: object, *, key: str = "") -> Iterator[Path]:
    """Yield the paths in the fields and sentences of an error object."""
    if isinstance(error, Mapping):
        if "missing" in str(error.get("type")):
            return  # it names a parameter that the request lacks
        for name, value in error.items():
            yield from _paths_in(value, key=str(name))
    elif key in _PATH_FIELDS:
        yield from _path_of(error)
    elif key == "code" and error == "invalid_encrypted_content":
        yield ("input", "encrypted_content")
    elif isinstance(error, list | tuple):
        for one in error:
            yield from _paths_in(one, key=key)
    elif isinstance(error, str):
        yield from _paths_in_sentence(error[:_MAX_SENTENCE_CHARS])


def _path_of(found: object) -> Iterator[Path]:
    """Yield the path in a field, given as text or as a list."""
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
            for name in _names_at_start(match["list"]):
                yield from _path_of(name)
    for pattern in _SINGLE_PATTERNS:
        for match in pattern.finditer(text):
            yield from _path_of(match[1])
    for match in _UNKNOWN_NAME_AT.finditer(text):
        yield from _path_of(f"{match[2] or ''}.{match[1]}")
    for match in _LOC_TUPLE.finditer(text):
        yield from _path_of([part.strip(" '\"") for part in match[1].split(",")])
    for match in _REASONING_ITEM_ID.finditer(text):
        yield ("input", match[1])
    yield from _missing_in(text)
    if _BAD_SCHEMA.search(text):
        yield ("tools", "parameters")


def _missing_in(text: str) -> Iterator[Path]:
    """Yield pseudo paths for what earlier calls lack, or for the length of their ids."""
    if _ID_LENGTH.search(text):
        yield ("messages", "short_ids")
    for match in _MISSING_FIELD.finditer(text):
        name = next(filter(None, match.groups())).lower()
        yield ("messages", "no_reasoning" if name.startswith("reason") else "no_signature")


def _names_at_start(text: str) -> list[str]:
    """Return the leading names of a list.

    Forms: `['a', 'b'] for x`, `{'a': 1}`, `"a" and "b"`, `a, b`.
    """
    opening = text.lstrip(" \t:[({")
    if _QUOTED_NAME.match(opening):
        names: list[str] = []
        while match := _QUOTED_NAME.match(opening):
            names.append(match[1])
            opening = _SEPARATOR.sub("", opening[match.end() :], count=1)
        return names
    words = re.match(rf"{_NAME}(?:, ?{_NAME})*", opening)
    return [word.rstrip(".") for word in re.split(r", ?", words[0])] if words else []
