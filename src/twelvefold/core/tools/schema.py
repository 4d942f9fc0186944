"""JSON Schema from a signature, and arguments checked by it. Pydantic does the work.

The schema keeps to what OpenAI's strict mode takes where it can: every field required, every object
closed, no defaults, no `$ref` beside other keywords. `strict` says whether it could.
A parameter with a default may be null, which means the default.
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

from twelvefold.core.tools.strict_mode import JsonSchema, is_strict, tidied
from twelvefold.errors import TwelvefoldError, WorkflowError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_HAS_SCHEMA = {*_PLAIN, NoneType, None, date, datetime, time, timedelta, Decimal}
"""Types that have a schema for certain."""
_CONTAINERS = (list, dict, set, frozenset, tuple, Union, UnionType)


class BadArguments(TwelvefoldError):
    """Arguments that are no JSON or do not fit; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Parameters:
    """What a model fills in when it calls one tool."""

    def __init__(
        self, tool: str, parameters: Mapping[str, inspect.Parameter], where: str = ""
    ) -> None:
        self._tool = tool
        self._where = where
        self._parameters = parameters
        self._optional = {n for n, p in parameters.items() if p.default is not p.empty}

    @cached_property
    def _built(self) -> "tuple[TypeAdapter[dict[str, Any]], JsonSchema]":
        # Pydantic takes a fifth of a second of CPU to import: `--help` must not pay for it.
        from typing import NotRequired

        from pydantic import ConfigDict, TypeAdapter, with_config

        # Before Python 3.12, Pydantic takes only this TypedDict.
        from typing_extensions import TypedDict

        fields: dict[str, Any] = {
            name: NotRequired[parameter.annotation | None]
            if name in self._optional
            else parameter.annotation
            for name, parameter in self._parameters.items()
        }
        made_at_run_time: Any = TypedDict
        shape = made_at_run_time(self._tool, fields)
        try:
            adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(shape))
            return adapter, adapter.json_schema()
        except Exception as error:  # a type of the author's may raise anything
            raise self._no_schema(error) from error

    def check(self) -> None:
        """Raise WorkflowError if a parameter's type has no schema.

        Pydantic is not imported for types of which that is known without it.
        """
        known = "pydantic" not in sys.modules and all(
            _is_known(parameter.annotation) for parameter in self._parameters.values()
        )
        if known or self._plain() is not None:
            return
        try:
            self._built  # noqa: B018 - made now, used by every call
        except WorkflowError as error:
            # A model may name one that is defined further below.
            if getattr(error.__cause__, "code", "") != "class-not-fully-defined":
                raise

    def _no_schema(self, error: Exception) -> WorkflowError:
        """The error, with the parameter that it is about."""
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        reason = str(said).partition("\n")[0].partition(". Set `arbitrary_types")[0]
        where = f" ({self._where})" if self._where else ""
        if len(self._parameters) == 1:
            (name,) = self._parameters
            kind = _name_of(self._parameters[name].annotation)
            return WorkflowError(
                f"tool {self._tool}: parameter {name!r} has the type {kind}, "
                f"which has no JSON Schema: {reason}{where}"
            )
        for name, parameter in self._parameters.items():
            try:
                Parameters(self._tool, {name: parameter}, self._where)._built  # noqa: B018
            except WorkflowError as found:
                return found
        return WorkflowError(f"tool {self._tool}: {reason}{where}")

    def prepare(self) -> None:
        """Import Pydantic and build what a first call needs. Raises WorkflowError."""
        _ = self._built

    @cached_property
    def schema(self) -> JsonSchema:
        """The JSON Schema (draft 2020-12) of the arguments. Raises WorkflowError."""
        if plain := self._plain():
            return plain
        _, raw = self._built
        return tidied(raw)

    def _plain(self) -> JsonSchema | None:
        """What Pydantic would say of a signature of plain types, without its import.

        A process lists its tools before it does anything else: this is a quarter of its start.
        """
        properties: JsonSchema = {}
        for name, parameter in self._parameters.items():
            if get_origin(parameter.annotation) not in (None, Union, UnionType):
                return None
            options = get_args(parameter.annotation) or (parameter.annotation,)
            types = [_PLAIN.get(option) for option in options if option is not NoneType]
            if len(types) != 1 or types[0] is None:
                return None
            only: JsonSchema = {"type": types[0]}
            nullable = name in self._optional or NoneType in options
            properties[name] = {"anyOf": [only, {"type": "null"}]} if nullable else only
        closed = {"additionalProperties": False, "required": list(properties)}
        return {"type": "object", "properties": properties, **closed}

    @cached_property
    def strict(self) -> bool:
        """Whether OpenAI's strict mode takes the schema for certain."""
        return is_strict(self.schema)

    def parse(self, text: str) -> dict[str, Any]:
        """The arguments as the tool takes them. Raises BadArguments, or WorkflowError."""
        from pydantic import ValidationError

        adapter, _ = self._built
        try:
            values = adapter.validate_json(text or "{}")
        except ValidationError as error:
            raise BadArguments(
                *(_problem(one) for one in error.errors(include_url=False))
            ) from None
        except Exception as error:  # a validator of the author's may raise anything
            raise BadArguments(f"arguments: cannot be checked, {type(error).__name__}") from error
        return {n: v for n, v in values.items() if v is not None or not self._means_default(n)}

    def _means_default(self, name: str) -> bool:
        return name in self._optional and self._parameters[name].default is not None


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else f"arguments: {error['msg']}"


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
