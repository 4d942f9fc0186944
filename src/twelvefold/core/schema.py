"""JSON Schema from a signature, and arguments checked by it. Pydantic does the work.

The schema keeps to what OpenAI's strict mode takes: every field required, every object closed,
no defaults, `anyOf` for `oneOf`. A parameter with a default may be null, which means the default.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from twelvefold.errors import TwelvefoldError, WorkflowError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

JsonSchema = dict[str, Any]
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_NOISE = ("title", "default", "discriminator")
_RENAMED = {"oneOf": "anyOf"}
_LOOSE = {"allOf", "prefixItems", "uniqueItems"}
_SAYS_WHAT = {"type", "enum", "const", "anyOf", "$ref"}


class BadArguments(TwelvefoldError):
    """Arguments that are no JSON or do not fit; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Parameters:
    """What a model fills in when it calls one tool."""

    def __init__(self, tool: str, parameters: Mapping[str, inspect.Parameter]) -> None:
        self._tool = tool
        self._parameters = parameters
        self._optional = {n for n, p in parameters.items() if p.default is not p.empty}

    @cached_property
    def _built(self) -> "tuple[TypeAdapter[dict[str, Any]], JsonSchema]":
        # Pydantic takes a fifth of a second of CPU to import: `--help` must not pay for it.
        from typing import NotRequired

        from pydantic import ConfigDict, TypeAdapter, with_config
        from pydantic.errors import PydanticUserError

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
        except PydanticUserError as error:
            raise WorkflowError(f"tool {self._tool}: {error.message}") from error

    def prepare(self) -> None:
        """Import Pydantic and build what a first call needs. Raises WorkflowError."""
        _ = self._built

    @cached_property
    def schema(self) -> JsonSchema:
        """The JSON Schema (draft 2020-12) of the arguments. Raises WorkflowError."""
        if plain := self._plain():
            return plain
        _, raw = self._built
        strict: JsonSchema = _strict(raw)
        return strict

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
        """Whether OpenAI's strict mode takes the schema: not if it leaves anything free."""
        return _is_strict(self.schema)

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


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    clean = {
        _RENAMED.get(key, key): {name: _strict(one) for name, one in value.items()}
        if key in {"properties", "$defs"}
        else _strict(value)
        for key, value in node.items()
        if key not in _NOISE
    }
    if clean.get("type") == "object":
        clean.setdefault("additionalProperties", False)
    if "properties" in clean:
        clean["required"] = list(clean["properties"])
    return clean


def _is_strict(schema: JsonSchema) -> bool:
    if not _SAYS_WHAT & schema.keys() or _LOOSE & schema.keys():
        return False
    if schema.get("type") == "object" and schema["additionalProperties"] is not False:
        return False
    return all(_is_strict(part) for part in _parts(schema))


def _parts(schema: JsonSchema) -> Iterator[JsonSchema]:
    yield from schema.get("properties", {}).values()
    yield from schema.get("$defs", {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]
