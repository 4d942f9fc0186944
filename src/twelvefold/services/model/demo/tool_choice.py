"""Chooses a call among unknown tools: the tool whose name and description match the words best."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

from msgspec import Struct

from twelvefold.services.model.demo.conversation import Call, CallResult, Conversation, NoMatch

MIN_SCORE_IF_NAMED = 3
"""The lowest score of a tool whose name contains a word of the user's message."""
_MAX_RESULT_CHARS = 600
_STOP_WORDS = {
    *("a", "all", "an", "and", "can", "could", "for", "in", "is", "it", "my", "of", "on", "our"),
    *("please", "that", "the", "then", "to", "with", "would", "you"),
}
_QUESTION = re.compile(r"\b(show|list|what|which|see|read|all|my|how many)\b|\?")
_QUOTED = re.compile(r"[\"\u201c]([^\"\u201d]+)[\"\u201d]")
_MISSING = object()
_GREETING = re.compile(
    r"\W*(hi|hello|hey|howdy|greetings|good (morning|afternoon|evening|day))\b"
    r"(\W+(there|again|all|everyone|everybody|you|demo|model|bot|assistant|friend))*"
    r"(\W+how are you( doing)?( today)?)?\W*"
)


def is_greeting(user_text: str) -> bool:
    """Return whether the text is only a greeting."""
    return _GREETING.fullmatch(user_text.lower()) is not None


def choose_call(conversation: Conversation) -> Call | NoMatch | str:
    """Return one call of the best matching tool, or the result of that call as text."""
    if conversation.new_results:
        return describe_result(conversation.new_results[-1])
    hello = "Hello! " if is_greeting(conversation.user_text) else ""
    if not conversation.tools:
        return f"{hello}This workflow offers me no tool, and my rules know nothing but tools."
    ranked_calls = [_ranked_call(conversation, name) for name in conversation.tools]
    matching = [call for call in ranked_calls if call is not None]
    if matching and not hello:
        return max(matching, key=lambda ranked: ranked[0])[1]
    problem = "My rules do not know this workflow; I call a tool if your words name it."
    if not hello and (incomplete := _incomplete_call(conversation)):
        problem = incomplete
    return NoMatch(f"{hello}{problem} There are: {', '.join(conversation.tools)}.")


def _incomplete_call(conversation: Conversation) -> str:
    """Return what the call of the tool that the words name lacks, "" if they name none."""
    text, tools = conversation.user_text, conversation.tools
    name = max(tools, key=lambda name: score_tool(text, tools[name]))
    if score_tool(text, tools[name]) < MIN_SCORE_IF_NAMED:
        return ""
    missing = " and ".join(fill_arguments(text, tools[name]).missing)
    return f"My rules find no value for {missing} of {name} in your words."


def _ranked_call(conversation: Conversation, name: str) -> tuple[tuple[int, bool], Call] | None:
    """Return a call with its rank. A question prefers a tool without arguments."""
    text, tool = conversation.user_text, conversation.tools[name]
    score, arguments = score_tool(text, tool), fill_arguments(text, tool)
    if not score or arguments.missing:
        return None
    is_question = _QUESTION.search(text.lower()) is not None
    has_arguments = any(value is not None for value in arguments.values.values())
    return (score, is_question != has_arguments), Call(name, arguments.values)


def describe_result(result: CallResult) -> str:
    """Return the output of a tool as a sentence."""
    return f"{result.tool} says: {truncate(result.text.strip() or 'done', _MAX_RESULT_CHARS)}"


def truncate(text: str, max_chars: int) -> str:
    """Return the beginning of a text, with an ellipsis if it is longer."""
    return text if len(text) <= max_chars else f"{text[:max_chars].rstrip()} …"


def score_tool(user_text: str, tool: Mapping[str, Any]) -> int:
    """Return the score of a tool: its verb weighs more than other words of its name."""
    name, description = str(tool["name"]).replace("_", " "), str(tool.get("description", ""))
    # The text before a colon is the instruction, the text after it is the argument.
    words = _words(user_text.partition(":")[0])
    in_name = set(words) & set(_words(name))
    in_description = set(words) & set(_words(description)) - in_name
    is_verb = bool(words) and words[0] in (_verb(name), _verb(description))
    return 3 * len(in_name) + len(in_description) + 6 * is_verb


def _verb(text: str) -> str:
    return text.lower().partition(" ")[0].removesuffix("s")


def _words(text: str) -> list[str]:
    """Return the words without stop words, each without the s of a plural."""
    words = re.findall(r"[a-z]+", text.lower())
    return [word.removesuffix("s") for word in words if word not in _STOP_WORDS]


class Arguments(Struct, frozen=True):
    """Arguments from the user's text. `missing` are the parameters that it has no value for."""

    values: Mapping[str, Any]
    missing: tuple[str, ...]


def fill_arguments(user_text: str, tool: Mapping[str, Any]) -> Arguments:
    """Return arguments from the text: numbers, and texts, in the order of the parameters.

    A parameter that may be null is null. Several texts have to be quoted.
    """
    properties = (tool.get("parameters") or {}).get("properties") or {}
    kinds = {name: _kind(schema) for name, schema in properties.items()}
    numbers = iter(re.findall(r"-?\d+(?:\.\d+)?", user_text))
    sources: dict[str, Iterator[Any]] = {
        "null": repeat(None),
        "string": iter(_texts(user_text, tool, list(kinds.values()).count("string"))),
        "number": map(float, numbers),
        "integer": (int(number.partition(".")[0]) for number in numbers),
    }
    found = {name: next(sources.get(kind, iter(())), _MISSING) for name, kind in kinds.items()}
    values = {name: value for name, value in found.items() if value is not _MISSING}
    return Arguments(values, tuple(name for name in found if name not in values))


def _texts(user_text: str, tool: Mapping[str, Any], count: int) -> list[str]:
    return _QUOTED.findall(user_text) if count > 1 else [_text(user_text, tool)]


def placeholder_arguments(user_text: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of the right types, for a call that the request requires."""
    simple = {"string": _text(user_text, tool), "number": 0, "integer": 0, "boolean": False}
    simple |= {"array": [], "object": {}, "null": None}
    properties = (tool.get("parameters") or {}).get("properties") or {}
    return {
        name: schema["enum"][0] if schema.get("enum") else simple.get(_kind(schema))
        for name, schema in properties.items()
    }


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a parameter, `null` if it is allowed."""
    types: Iterable[Any] = [one.get("type") for one in schema.get("anyOf") or [schema]]
    flat = {word for one in types for word in (one if isinstance(one, list) else [one])}
    if "null" in flat:
        return "null"
    return "other" if "enum" in schema else str(next(iter(flat), "other"))


def _text(user_text: str, tool: Mapping[str, Any]) -> str:
    """Return the text argument: quoted, after a colon, or the words that do not name the tool."""
    if quoted := _QUOTED.search(user_text):
        return quoted[1]
    if after_colon := user_text.partition(":")[2].strip():
        return after_colon
    known = set(_words(f"{tool['name']} {tool.get('description', '')}".replace("_", " ")))
    words = user_text.split()
    topic = [at for at, word in enumerate(words) if not _are_in_tool_name(known, word)]
    return " ".join(words[topic[0] : topic[-1] + 1]).strip(" .,!?") if topic else user_text


def _are_in_tool_name(known: set[str], word: str) -> bool:
    return known.issuperset(_words(word)) and not re.search(r"\d", word)
