"""The demo model with tools that it does not know: it calls the one that the words name best."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from twelvefold.services.model.demo.conversation import Call, Talk, Told

NAMED = 3
"""How well a tool fits at least whose name has one of the words that were said."""
_RESULT_CHARS = 600
_SMALL = {
    *("a", "all", "an", "and", "can", "could", "for", "in", "is", "it", "my", "of", "on", "our"),
    *("please", "that", "the", "then", "to", "with", "would", "you"),
}
_ASKS = re.compile(r"\b(show|list|what|which|see|read|all|my|how many)\b|\?")
_GREETING = re.compile(
    r"\W*(hi|hello|hey|howdy|greetings|good (morning|afternoon|evening|day))\b"
    r"(\W+(there|again|all|everyone|everybody|you|demo|model|bot|assistant|friend))*"
    r"(\W+how are you( doing)?( today)?)?\W*"
)


def is_greeting(said: str) -> bool:
    """Whether it is a greeting and nothing else, which names no tool."""
    return _GREETING.fullmatch(said.lower()) is not None


def anything(talk: Talk) -> Call | str:
    """One call of the tool that the words name best, then what it said."""
    if talk.now:
        return told_by(talk.now[-1])
    hello = "Hello! " if is_greeting(talk.said) else ""
    if not talk.tools:
        return f"{hello}This workflow offers me no tool, and my rules know nothing but tools."
    fitting = [] if hello else [call for name in talk.tools if (call := _fitting(talk, name))]
    if fitting:
        return max(fitting, key=lambda ranked: ranked[0])[1]
    return (
        f"{hello}My rules do not know this workflow; I call a tool if your words name it. "
        f"There are: {', '.join(talk.tools)}."
    )


def _fitting(talk: Talk, name: str) -> tuple[tuple[int, bool], Call] | None:
    """A call, and how well it fits; of two that fit alike a question wants the one without text."""
    fit, arguments = fit_of(talk.said, talk.tools[name]), filled(talk.said, talk.tools[name])
    if not fit or arguments is None:
        return None
    asks = _ASKS.search(talk.said.lower()) is not None
    says = any(value is not None for value in arguments.values())
    return (fit, asks != says), Call(name, arguments)


def told_by(told: Told) -> str:
    """What a tool said, passed on."""
    return f"{told.tool} says: {cut(told.text.strip() or 'done', _RESULT_CHARS)}"


def cut(text: str, most: int) -> str:
    """The beginning of a text, with a mark if it goes on."""
    return text if len(text) <= most else f"{text[:most].rstrip()} …"


def fit_of(said: str, tool: Mapping[str, Any]) -> int:
    """How well a tool fits: what it does by its first word counts most, then words of its name."""
    name, description = str(tool["name"]).replace("_", " "), str(tool.get("description", ""))
    # What comes before a colon says what to do, what follows says to what.
    words = _words(said.partition(":")[0])
    in_name = set(words) & set(_words(name))
    in_description = set(words) & set(_words(description)) - in_name
    does = bool(words) and words[0] in (_verb(name), _verb(description))
    return 3 * len(in_name) + len(in_description) + 6 * does


def _verb(text: str) -> str:
    return text.lower().partition(" ")[0].removesuffix("s")


def _words(text: str) -> list[str]:
    """The words that say something, each without the s of a plural."""
    words = re.findall(r"[a-z]+", text.lower())
    return [word.removesuffix("s") for word in words if word not in _SMALL]


def filled(said: str, tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments out of the sentence; None if the tool wants more than one text and one number."""
    properties = (tool.get("parameters") or {}).get("properties") or {}
    kinds = {name: _kind(schema) for name, schema in properties.items()}
    wanted = sorted(kind for kind in kinds.values() if kind != "null")
    number = re.search(r"-?\d+(\.\d+)?", said)
    if wanted not in (
        [],
        ["string"],
        ["number"],
        ["integer"],
        ["number", "string"],
        ["integer", "string"],
    ):
        return None
    if number is None and {"number", "integer"} & set(wanted):
        return None
    values: dict[str, Any] = {"null": None, "string": _text(said, tool)}
    if number:
        values |= {"number": float(number[0]), "integer": int(float(number[0]))}
    return {name: values[kind] for name, kind in kinds.items()}


def made_up(said: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the right types, for a tool that has to be called whatever it wants."""
    simple = {"string": _text(said, tool), "number": 0, "integer": 0, "boolean": False}
    simple |= {"array": [], "object": {}, "null": None}
    properties = (tool.get("parameters") or {}).get("properties") or {}
    return {
        name: schema["enum"][0] if schema.get("enum") else simple.get(_kind(schema))
        for name, schema in properties.items()
    }


def _kind(schema: Mapping[str, Any]) -> str:
    """The type that a parameter wants, `null` where that will do."""
    types: Iterable[Any] = [one.get("type") for one in schema.get("anyOf") or [schema]]
    flat = {word for one in types for word in (one if isinstance(one, list) else [one])}
    if "null" in flat:
        return "null"
    return "other" if "enum" in schema else str(next(iter(flat), "other"))


def _text(said: str, tool: Mapping[str, Any]) -> str:
    """What is meant as text: in quotes, after a colon, or between the words that name the tool."""
    if quoted := re.search(r"[\"\u201c]([^\"\u201d]+)[\"\u201d]", said):
        return quoted[1]
    if after_colon := said.partition(":")[2].strip():
        return after_colon
    known = set(_words(f"{tool['name']} {tool.get('description', '')}".replace("_", " ")))
    words = said.split()
    meant = [place for place, word in enumerate(words) if not _names(known, word)]
    return " ".join(words[meant[0] : meant[-1] + 1]).strip(" .,!?") if meant else said


def _names(known: set[str], word: str) -> bool:
    return known.issuperset(_words(word)) and not re.search(r"\d", word)
