"""Generates a text that matches a regular expression, for the `pattern` of a schema.

This is the only module that uses the private parser of `re`.
"""

import re
from importlib import import_module
from typing import Any

_parser: Any = import_module("re._parser")
_MAX_EXTRA_REPETITIONS = 64
_CANDIDATES = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(32, 127))]


def matching_text(pattern: str, *, min_length: int = 0) -> str:
    """Return a text that contains a match, with at least `min_length` characters if possible.

    Returns "" if Python cannot parse the pattern, or if it has a lookaround.
    """
    try:
        tree, compiled = _parser.parse(pattern), re.compile(pattern)
    except (re.error, RecursionError):
        return ""
    for extra in range(_MAX_EXTRA_REPETITIONS):
        text = _text_of(tree, extra, {})
        if len(text) >= min_length and compiled.search(text):
            return text
    text = _text_of(tree, 0, {})
    return text if compiled.search(text) else ""


def _text_of(tree: Any, extra: int, groups: dict[int, str]) -> str:
    """Return a text for a parsed expression, with `extra` repetitions where they are allowed."""
    return "".join(_text_of_node(str(kind), argument, extra, groups) for kind, argument in tree)


def _text_of_node(kind: str, argument: Any, extra: int, groups: dict[int, str]) -> str:
    match kind:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "b" if argument == ord("a") else "a"
        case "ANY":
            return "a"
        case "IN":
            return _character_of_set(argument)
        case "BRANCH":
            return _text_of(argument[1][0], extra, groups)
        case "SUBPATTERN":
            text = _text_of(argument[3], extra, groups)
            if argument[0] is not None:
                groups[argument[0]] = text
            return text
        case "GROUPREF":
            return groups.get(argument, "")
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            min_count, max_count, tree = int(argument[0]), int(argument[1]), argument[2]
            return "".join(
                _text_of(tree, 0, groups) for _ in range(min(min_count + extra, max_count))
            )
        case _:
            return ""  # an anchor


def _character_of_set(parts: Any) -> str:
    """Return a character that a set matches."""
    kinds = [(str(kind), argument) for kind, argument in parts]
    if kinds[0][0] == "NEGATE":
        return next((one for one in _CANDIDATES if not _is_member(one, kinds[1:])), "")
    kind, argument = kinds[0]
    match kind:
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            return chr(argument[0])
        case _:
            return next((one for one in _CANDIDATES if _is_member(one, kinds)), "")


def _is_member(one: str, kinds: list[tuple[str, Any]]) -> bool:
    return any(_matches_part(one, kind, argument) for kind, argument in kinds)


def _matches_part(one: str, kind: str, argument: Any) -> bool:
    match kind:
        case "LITERAL":
            return bool(ord(one) == argument)
        case "RANGE":
            return bool(argument[0] <= ord(one) <= argument[1])
        case _:
            name = str(argument)
            category: str = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rsplit("_", 1)[-1]]
            is_within = re.fullmatch(category, one) is not None
            return is_within != ("NOT" in name)
