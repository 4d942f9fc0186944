"""The setting MODELS: named models beside the default one, as a JSON object.

The parsers are those of the variables OPENAI_*. A model without `url` is on the server of the
default model, with its key and headers. A model with `url` gets neither.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from twelvefold.config.parse import (
    ProblemsError,
    header,
    headers,
    integer,
    masked,
    number,
    one_of,
    printable,
    text,
    url,
)

if TYPE_CHECKING:
    from twelvefold.core import Price

Api = Literal["responses", "chat"]
Accepts = Literal["image", "file"]
DEFAULT_MODEL = "default"
EXAMPLE = '{"fast": {"url": "https://host/v1", "key_env": "FAST_KEY", "model": "gpt-5-nano"}}'
_SECRET_FIELDS = ("key", "headers")
_KEY_FIELDS = ("key", "key_env", "key_file")
_SHOWN_FIELDS = (
    *("model", "api", "price", "window", "max_output_tokens", "temperature", "accepts"),
    "timeout_s",
)
_MAX_USD_PER_MILLION = 1_000_000.0


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model of MODELS. `key_env` is the variable that has its key, `key_file` the file.

    None and "" are fields that are not given. `price` is in micro-dollars per million tokens.
    """

    name: str
    model: str = ""
    url: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    key_env: str = ""
    key_file: str = ""
    api: Api | None = None
    price: "Price | None" = None
    window: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    accepts: tuple[Accepts, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float | None = None


def named_models(value: str) -> tuple[NamedModel, ...]:
    """Return the models of the JSON text. Raises ProblemsError with all problems."""
    try:
        given = json.loads(value, object_pairs_hook=_unique)
    except ProblemsError:
        raise
    except ValueError as error:
        # Without the text, which may have a key.
        position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ProblemsError(f"it is not JSON{position}; use {EXAMPLE}") from None
    if not isinstance(given, dict):
        raise ProblemsError(f"it is no JSON object; use {EXAMPLE}")
    problems: list[str] = []
    models = [_named_model(name, fields, problems) for name, fields in given.items()]
    if problems:
        raise ProblemsError(*problems)
    return tuple(models)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ProblemsError(f"{twice!r} is there twice")
    return members


def _named_model(name: str, given: object, problems: list[str]) -> NamedModel:
    problems += [f"{name}: {problem}" for problem in _name_problems(name)]
    if not isinstance(given, dict):
        problems.append(f"{name}: use an object of fields, as in {EXAMPLE}")
        return NamedModel(name)
    values: dict[str, Any] = {}
    for key, value in given.items():
        try:
            values[key] = _parser_of(key)(value)
        except ValueError as error:
            problems.append(f"{name}: {key}: {_shown(key, value)}: {error}")
    problems += [f"{name}: {problem}" for problem in _inconsistencies(given)]
    return NamedModel(name, **values)


def _name_problems(name: str) -> Iterator[str]:
    if name == DEFAULT_MODEL:
        yield "this is the name of the model that the variables OPENAI_* describe; use another"
    elif not name or "/" in name or len(name) > 64 or not name.isprintable():
        yield "a name has 1 to 64 printable characters without /"


def _inconsistencies(given: Mapping[str, object]) -> Iterator[str]:
    if "model" not in given:
        yield "model: is not set; give the name that the server knows"
    keys = [key for key in _KEY_FIELDS if key in given]
    if len(keys) > 1:
        yield f"{keys[0]}: excludes {keys[1]}; give one of the two"
    for key in keys:
        if "url" not in given:
            yield f"{key}: is set, though url is not; without url the model has OPENAI_API_KEY"


def _shown(field: str, value: object) -> str:
    """Return a value for an error; of an unknown field it may be a key under another name."""
    if field == "url" and isinstance(value, str):
        return repr(masked(value))
    return repr(value) if field in _SHOWN_FIELDS else "****"


# --- fields ---------------------------------------------------------------------------------------


def _parser_of(field: str) -> Callable[[Any], Any]:
    if field in _PARSERS:
        return _PARSERS[field]
    from difflib import get_close_matches

    close = get_close_matches(field, _PARSERS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(_PARSERS)}"
    raise _unknown(hint)


def _unknown(hint: str) -> ValueError:
    return ValueError(f"unknown field; {hint}")


def _string(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def parse_string(value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            raise ValueError("use a string that is not empty")
        return parse(value.strip())

    return parse_string


def _numeral(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return a parser of a JSON number, or of a string with one as in a variable."""

    def parse_numeral(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError("use a number")
        return parse(str(value))

    return parse_numeral


def _variable_name(value: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("it is not the name of an environment variable")
    return value


def _accepts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError('use a list of "image" and "file"')
    return tuple(_string(one_of(Accepts))(kind) for kind in value)


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError('use an object {"Name": "value"}')
    return headers(json.dumps(value))


def _price(value: Any) -> "Price":
    if not isinstance(value, dict) or not {"input", "output"} <= value.keys() <= set(_PRICE_PARTS):
        raise ValueError('use {"input": …, "cached": …, "output": …}, USD per million tokens')
    from twelvefold.core import Price  # its import takes longer than that of all settings

    usd = {part: _usd(amount) for part, amount in value.items()}
    return Price(usd["input"], usd.get("cached", usd["input"]), usd["output"])


def price(value: str) -> "Price":
    """Parse the price of a model from a variable. Raises ValueError."""
    try:
        return _price(json.loads(value))
    except json.JSONDecodeError:
        raise ValueError('use {"input": …, "output": …}, USD per million tokens') from None


_PRICE_PARTS = ("input", "cached", "output")


def _usd(amount: Any) -> int:
    """Return an amount of dollars in micro-dollars."""
    usd: float = _numeral(number(0, _MAX_USD_PER_MILLION))(amount)
    return round(usd * 1_000_000)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "url": _string(url("https", "http")),
    "key": _string(header),
    "key_env": _string(_variable_name),
    "key_file": _string(printable),
    "model": _string(text),
    "api": _string(one_of(Api)),
    "price": _price,
    "window": _numeral(integer(1_000)),
    "max_output_tokens": _numeral(integer(1)),
    "temperature": _numeral(number(0, 2)),
    "accepts": _accepts,
    "headers": _headers,
    "timeout_s": _numeral(number(0.1, 3_600)),
}


# --- keys and display -----------------------------------------------------------------------------


def with_keys(
    models: tuple[NamedModel, ...], environ: Mapping[str, str], problems: list[str]
) -> tuple[NamedModel, ...]:
    """Return the models with the keys that `key_env` names; add a problem for each missing one."""
    return tuple(_with_key(model, environ, problems) for model in models)


def _with_key(model: NamedModel, environ: Mapping[str, str], problems: list[str]) -> NamedModel:
    if not model.key_env:
        return model
    at = f"MODELS: {model.name}: key_env"
    if model.key_env not in environ:
        problems.append(f"{at}: {model.key_env} is not set")
        return model
    try:
        return replace(model, key=header(environ[model.key_env]))
    except ValueError as error:
        problems.append(f"{at}: {model.key_env}: {error}")
        return model


def key_variables(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the variables that have keys of models; none if MODELS is invalid."""
    try:
        models = named_models(environ["MODELS"]) if environ.get("MODELS", "").strip() else ()
    except ProblemsError:
        return frozenset()
    return frozenset(model.key_env for model in models if model.key_env)


def masked_models(value: str) -> str:
    """Return the text of MODELS for display, without keys, headers and passwords."""
    try:
        named_models(value)
    except ProblemsError:
        return masked(value)
    return json.dumps({name: _masked(fields) for name, fields in json.loads(value).items()})


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(fields) | {name: "****" for name in _SECRET_FIELDS if name in fields}
    return shown | ({"url": masked(fields["url"])} if "url" in fields else {})
