"""JSON Schema from a signature, and arguments that are checked against it, by Pydantic.

Where it can, the schema keeps to what OpenAI's strict mode accepts: every field required, every
object closed, no defaults, no `$ref` beside other keywords. `strict` is whether it does. A
parameter with a default may be null, which means the default.
"""

import inspect
import sys
from collections.abc import Hashable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from twelvefold.core.tools.filling import fill_missing
from twelvefold.core.tools.strict_mode import JsonSchema, is_strict, simplify
from twelvefold.errors import TwelvefoldError, WorkflowError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_HAS_SCHEMA = {*_PLAIN, NoneType, None, date, datetime, time, timedelta, Decimal}
"""Types that certainly have a schema."""
_CONTAINERS = (list, dict, set, frozenset, tuple, Union, UnionType)


class BadArguments(TwelvefoldError):
    """Arguments that are not JSON or do not fit the schema; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Parameters:
    """The parameters of one tool that the model fills. `location`: where the tool is declared."""

    def __init__(
        self, tool: str, parameters: Mapping[str, inspect.Parameter], location: str = ""
    ) -> None:
        self._tool = tool
        self._location = location
        self._parameters = parameters
        self._optional = {n for n, p in parameters.items() if p.default is not p.empty}

    @cached_property
    def schema(self) -> JsonSchema:
        """The JSON Schema (draft 2020-12) of the arguments. Raises WorkflowError."""
        if plain := self._plain_schema():
            return plain
        _, raw = self._adapter
        return simplify(raw)

    @cached_property
    def strict(self) -> bool:
        """Whether OpenAI's strict mode certainly accepts the schema. Raises WorkflowError."""
        return is_strict(self.schema)

    def check(self) -> None:
        """Raise WorkflowError if the type of a parameter has no schema.

        Does not import Pydantic if the types are known to have one.
        """
        known = "pydantic" not in sys.modules and all(
            _is_known(parameter.annotation) for parameter in self._parameters.values()
        )
        if known or self._plain_schema() is not None:
            return
        try:
            self.prepare()
        except WorkflowError as error:
            # A type may refer to a model that is defined further below.
            if getattr(error.__cause__, "code", "") != "class-not-fully-defined":
                raise

    def prepare(self) -> None:
        """Import Pydantic and build what `parse` needs. Raises WorkflowError."""
        _ = self._adapter

    def parse(self, text: str) -> dict[str, Any]:
        """Return the arguments in the types of the signature. Raises BadArguments, WorkflowError.

        Leaves out arguments that are null where the parameter's default is another value.
        """
        from pydantic import ValidationError

        adapter, _ = self._adapter
        try:
            values = adapter.validate_json(text or "{}")
        except ValidationError as error:
            raise BadArguments(
                *(_problem(one) for one in error.errors(include_url=False))
            ) from None
        except Exception as error:  # a validator of the author's may raise anything
            raise BadArguments(f"arguments: cannot be checked, {type(error).__name__}") from error
        return {n: v for n, v in values.items() if v is not None or not self._means_default(n)}

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return parsed arguments and the defaults of the others."""
        parameters = self._parameters.items()
        defaults = {name: one.default for name, one in parameters if name in self._optional}
        return {**defaults, **values}

    def fill(self, text: str, values: Mapping[str, Any]) -> str:
        """Return the text of arguments with each default that applies, for a person.

        `values` are the parsed arguments. What the model wrote stays as it is. The text can be
        parsed to the same values, so a default stays left out or null if its JSON form is another
        value: a secret, an object.
        """
        filled = text
        for name, value in self.with_defaults(values).items():
            candidate = fill_missing(filled or "{}", {name: _json_value(value)})
            if candidate != (filled or "{}") and self._parses_to(candidate, name, value):
                filled = candidate
        return filled

    def _parses_to(self, text: str, name: str, value: object) -> bool:
        try:
            parsed = self.with_defaults(self.parse(text))[name]
            if isinstance(parsed, list) and isinstance(value, tuple):
                return parsed == [*value]
            return bool(parsed == value)
        except Exception:  # a validator or an `__eq__` of the author's may raise anything
            return False

    def _means_default(self, name: str) -> bool:
        return name in self._optional and self._parameters[name].default is not None

    def _plain_schema(self) -> JsonSchema | None:
        """Return the schema of a signature of plain types without Pydantic, else None.

        Each process lists its tools first; the import of Pydantic would be a quarter of its start.
        """
        properties: JsonSchema = {}
        for name, parameter in self._parameters.items():
            plain = _plain_property(parameter.annotation, optional=name in self._optional)
            if plain is None:
                return None
            properties[name] = plain
        closed = {"additionalProperties": False, "required": list(properties)}
        return {"type": "object", "properties": properties, **closed}

    @cached_property
    def _adapter(self) -> "tuple[TypeAdapter[dict[str, Any]], JsonSchema]":
        """Pydantic's validator of the arguments, and its schema of them."""
        # Pydantic takes a fifth of a second of CPU to import, too long for `--help`.
        from typing import NotRequired

        from pydantic import ConfigDict, TypeAdapter, with_config

        # Before Python 3.12, Pydantic accepts only this TypedDict.
        from typing_extensions import TypedDict

        fields: dict[str, Any] = {
            name: NotRequired[parameter.annotation | None]
            if name in self._optional
            else parameter.annotation
            for name, parameter in self._parameters.items()
        }
        make_type: Any = TypedDict
        shape = make_type(self._tool, fields)
        try:
            adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(shape))
            return adapter, adapter.json_schema()
        except Exception as error:  # a type of the author's may raise anything
            raise self._no_schema(error) from error

    def _no_schema(self, error: Exception) -> WorkflowError:
        """Return the error with the parameter that causes it."""
        location = f" ({self._location})" if self._location else ""
        if len(self._parameters) == 1:
            (name,) = self._parameters
            kind = _name_of(self._parameters[name].annotation)
            return WorkflowError(
                f"tool {self._tool}: parameter {name!r} has the type {kind}, "
                f"which has no JSON Schema: {_reason(error)}{location}"
            )
        for name, parameter in self._parameters.items():
            try:
                Parameters(self._tool, {name: parameter}, self._location).prepare()
            except WorkflowError as found:
                return found
        return WorkflowError(f"tool {self._tool}: {_reason(error)}{location}")


def _json_value(value: object) -> Any:
    """Return the JSON form of a value, also of defaults in it; None if it has none."""
    from pydantic import TypeAdapter

    adapter = TypeAdapter[Any](Any)
    try:
        return adapter.dump_python(value, mode="json", by_alias=True, fallback=lambda _: None)
    except Exception:  # a serializer of the author's may raise anything
        return None


def _plain_property(annotation: Any, *, optional: bool) -> JsonSchema | None:
    """Return the schema of a plain type, or of one that may be None; else None."""
    if get_origin(annotation) not in (None, Union, UnionType):
        return None
    choices = get_args(annotation) or (annotation,)
    types = [_PLAIN.get(choice) for choice in choices if choice is not NoneType]
    if len(types) != 1 or types[0] is None:
        return None
    plain: JsonSchema = {"type": types[0]}
    return {"anyOf": [plain, {"type": "null"}]} if optional or NoneType in choices else plain


def _reason(error: Exception) -> str:
    """Return the first line of the error, without Pydantic's advice to its own users."""
    text = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
    return str(text).partition("\n")[0].partition(". Set `arbitrary_types")[0]


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path}: {error['msg']}" if path else f"arguments: {error['msg']}"


def _is_known(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Literal:
        return True
    if origin in _CONTAINERS:
        return all(_is_known(one) for one in get_args(annotation) if one is not ...)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return True
    return isinstance(annotation, Hashable) and annotation in _HAS_SCHEMA


def _name_of(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", "") or str(annotation)
