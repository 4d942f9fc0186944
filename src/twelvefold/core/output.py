"""The typed output of a workflow: its JSON Schema, and the check of the replies that end a run.

The root of a schema is always an object: a union, a list or a plain value is the field `output` of
one. Pydantic is imported on first use.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from twelvefold.core.conversation.sendable import sanitize_name
from twelvefold.core.conversation.turns import calls_of
from twelvefold.core.events import Item, ModelReplied
from twelvefold.core.tools.strict_mode import JsonSchema, is_strict, simplify
from twelvefold.errors import TwelvefoldError, WorkflowError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from twelvefold.core.thread import Thread
    from twelvefold.core.workflow import Output, Workflow

WRAPPER = "output"
"""The only field of the object around a value that is no object, and its name if it has none."""
BESIDE_CALLS = "a text beside tool calls is not the output"
SCHEMA_NOTE = "The output is JSON that fits this JSON Schema, without any other text:\n{schema}"
MAX_PROBLEMS = 20
MAX_PROBLEM_CHARS = 300
_REF = "#/$defs/"


class BadOutput(TwelvefoldError):
    """A text that is not JSON or does not fit the type; `problems` has a line for each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class OutputType:
    """The type of a workflow's output: anything that Pydantic has a JSON Schema for."""

    def __init__(self, workflow: str, declared: Any) -> None:
        self._workflow = workflow
        self._declared = declared

    @property
    def name(self) -> str:
        """The name of the type, as the model's server accepts it."""
        return sanitize_name(getattr(self._declared, "__name__", "") or WRAPPER)

    @property
    def schema(self) -> JsonSchema:
        """The JSON Schema (draft 2020-12) of the text, an object. Raises WorkflowError."""
        return self._built[1]

    @cached_property
    def strict(self) -> bool:
        """Whether OpenAI's strict mode certainly accepts the schema. Raises WorkflowError."""
        return is_strict(self.schema)

    @cached_property
    def format(self) -> Item:
        """The `text.format` of a request to the model. Raises WorkflowError."""
        schema, strict = self.schema, self.strict
        return {"type": "json_schema", "name": self.name, "schema": schema, "strict": strict}

    @cached_property
    def note(self) -> str:
        """The schema as a text, for the instructions. Raises WorkflowError."""
        return SCHEMA_NOTE.format(schema=msgspec.json.encode(self.schema).decode())

    @cached_property
    def size(self) -> int:
        """The bytes of JSON of `format`."""
        return len(msgspec.json.encode(self.format))

    def check(self) -> None:
        """Raise WorkflowError if the type has no JSON Schema."""
        try:
            self.prepare()
        except WorkflowError as error:
            # A type may refer to a model that is defined further below.
            if getattr(error.__cause__, "code", "") != "class-not-fully-defined":
                raise

    def prepare(self) -> None:
        """Import Pydantic and build what `parse` needs. Raises WorkflowError."""
        _ = self._built

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises BadOutput, WorkflowError."""
        from pydantic import ValidationError

        adapter, _, is_wrapped = self._built
        try:
            value = adapter.validate_json(text)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise BadOutput(*map(_problem, found[:MAX_PROBLEMS])) from None
        except Exception as error:  # a validator of the author's may raise anything
            raise BadOutput(f"it cannot be checked, {type(error).__name__}") from error
        return value[WRAPPER] if is_wrapped else value

    def dump(self, value: Any) -> str:
        """Return the JSON text of a value, as the model writes it."""
        adapter, _, is_wrapped = self._built
        wrapped = {WRAPPER: value} if is_wrapped else value
        return adapter.dump_json(wrapped, by_alias=True).decode()

    def has_schema(self, schema: JsonSchema) -> bool:
        """Return whether another schema of the text is the same, apart from titles and defaults.

        The `openai` SDK makes a schema from the same type in a slightly different form.
        """
        try:
            return _rooted(simplify(schema, inline=False)) == self.schema
        except (AttributeError, TypeError, RecursionError):  # it is no schema, or is too deep
            return False

    @cached_property
    def _built(self) -> "tuple[TypeAdapter[Any], JsonSchema, bool]":
        """Pydantic's validator of the text, the schema, and whether the value is in a wrapper."""
        adapter, schema = self._adapter(self._declared)
        if schema.get("type") == "object":
            return adapter, schema, False
        from typing_extensions import TypedDict

        make_type: Any = TypedDict
        adapter, schema = self._adapter(make_type("Output", {WRAPPER: self._declared}))
        return adapter, schema, True

    def _adapter(self, kind: Any) -> "tuple[TypeAdapter[Any], JsonSchema]":
        from pydantic import TypeAdapter

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            return adapter, _rooted(simplify(adapter.json_schema()))
        except Exception as error:  # a type of the author's may raise anything
            text = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            raise WorkflowError(
                f"workflow {self._workflow}: output has the type {self.name}, "
                f"which has no JSON Schema: {str(text).partition(chr(10))[0]}"
            ) from error


def _rooted(schema: JsonSchema) -> JsonSchema:
    """Return the schema of a type that refers to itself with its definition as the root."""
    reference = str(schema.get("$ref", ""))
    if not reference.startswith(_REF):
        return schema
    definition = schema.get("$defs", {}).get(reference.removeprefix(_REF), {})
    return {**definition, **{key: one for key, one in schema.items() if key != "$ref"}}


def _problem(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    text = f"{path}: {error['msg']}" if path else str(error["msg"])
    return text if len(text) <= MAX_PROBLEM_CHARS else f"{text[: MAX_PROBLEM_CHARS - 1]}…"


def find_problems(reply: ModelReplied, output: OutputType) -> tuple[str, ...]:
    """Return why callers must not see the text of a reply as the output; () if they may.

    A reply without text, for example a refusal, has no problem. A text beside calls is none, too:
    the calls run, and the text stays hidden.
    """
    text = reply_text(reply)
    if not text.strip():
        return ()
    if calls_of(reply):
        return (BESIDE_CALLS,)
    try:
        output.parse(text)
    except BadOutput as error:
        return error.problems
    return ()


def reply_text(reply: ModelReplied) -> str:
    """Return the text of a reply's messages, without refusals."""
    return "".join(
        str(part.get("text") or "")
        for item in reply.items
        if item.get("type", "message") == "message"
        for part in _parts(item.get("content"))
    )


def _parts(content: Any) -> list[Item]:
    return content if isinstance(content, list) else [{"text": content}]


def output_of(thread: "Thread", workflow: "Workflow[Output]") -> "Output | None":
    """Return the output of a thread's latest run, as a value of the workflow's output type.

    None if the run has none: it is not completed, ends with calls for the caller or a refusal, or
    the workflow has no output type. Raises BadOutput if the type has changed since.
    """
    if workflow.output_type is None or thread.status != "completed":
        return None
    events = (entry.event for entry in reversed(thread.latest))
    last = next((event for event in events if isinstance(event, ModelReplied)), None)
    if last is None or last.problems or calls_of(last) or not (text := reply_text(last)).strip():
        return None
    output: Output = workflow.output_type.parse(text)
    return output
