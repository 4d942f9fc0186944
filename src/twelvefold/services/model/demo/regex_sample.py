"""A text that matches a regular expression, for the `pattern` of a schema.

Reads the expression with the parser of `re`, whose module is private: the one place that does.
"""

import re
from importlib import import_module
from typing import Any

_parser: Any = import_module("re._parser")
_MOST = 64
_ANY = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(32, 127))]


def matching(pattern: str, *, least: int = 0) -> str:
    """A text in which the pattern is found, of at least so many characters where that fits.

    "" for a pattern that Python cannot read, or with lookaround in it.
    """
    try:
        tree, compiled = _parser.parse(pattern), re.compile(pattern)
    except (re.error, RecursionError):
        return ""
    for more in range(_MOST):
        text = _text_of(tree, more, {})
        if len(text) >= least and compiled.search(text):
            return text
    text = _text_of(tree, 0, {})
    return text if compiled.search(text) else ""


def _text_of(tree: Any, more: int, groups: dict[int, str]) -> str:
    """A text for a parsed expression; each repetition has `more` than it needs, if it may."""
    return "".join(_one(str(kind), given, more, groups) for kind, given in tree)


def _one(kind: str, given: Any, more: int, groups: dict[int, str]) -> str:
    match kind:
        case "LITERAL":
            return chr(given)
        case "NOT_LITERAL":
            return "b" if given == ord("a") else "a"
        case "ANY":
            return "a"
        case "IN":
            return _of_set(given)
        case "BRANCH":
            return _text_of(given[1][0], more, groups)
        case "SUBPATTERN":
            text = _text_of(given[3], more, groups)
            if given[0] is not None:
                groups[given[0]] = text
            return text
        case "GROUPREF":
            return groups.get(given, "")
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, tree = int(given[0]), int(given[1]), given[2]
            return "".join(_text_of(tree, 0, groups) for _ in range(min(least + more, most)))
        case _:
            return ""  # an anchor


def _of_set(parts: Any) -> str:
    """A character that is in a set, or outside one that is negated."""
    kinds = [(str(kind), given) for kind, given in parts]
    if kinds[0][0] == "NEGATE":
        return next((one for one in _ANY if not _is_in(one, kinds[1:])), "")
    kind, given = kinds[0]
    match kind:
        case "LITERAL":
            return chr(given)
        case "RANGE":
            return chr(given[0])
        case _:
            return next((one for one in _ANY if _is_in(one, kinds)), "")


def _is_in(one: str, kinds: list[tuple[str, Any]]) -> bool:
    return any(_fits(one, kind, given) for kind, given in kinds)


def _fits(one: str, kind: str, given: Any) -> bool:
    match kind:
        case "LITERAL":
            return bool(ord(one) == given)
        case "RANGE":
            return bool(given[0] <= ord(one) <= given[1])
        case _:
            name = str(given)
            category: str = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rsplit("_", 1)[-1]]
            is_within = re.fullmatch(category, one) is not None
            return is_within != ("NOT" in name)
