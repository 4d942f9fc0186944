"""Generates pages of docs/reference/ from the code: `make reference`.

Each page is a function that returns Markdown. A test compares the committed pages with the output.
"""

import argparse
import asyncio
import builtins
import json
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo
from sqlalchemy import Inspector, create_engine, inspect

from tools.markdown import code, fence, page, table
from tools.openapi.page import api
from tools.python_reference import DIRECTORY, python_pages
from twelvefold import errors
from twelvefold.boot import journal_sql, migrate_journal
from twelvefold.cli import command
from twelvefold.cli.main import CLOSED_PIPE
from twelvefold.cli.parser import build_parser
from twelvefold.cli.subcommands import Parser
from twelvefold.config import Settings, list_variables
from twelvefold.core.events import Ancestry, ChildLimits, Event, RequestOptions, Usage

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
SETTINGS = """\
All settings are environment variables. An empty variable counts as not set. For local work a file
`.env` in the working directory is read; it never overrides the environment. `twelvefold settings`
prints the current values with secrets masked. All invalid variables are reported together, with
exit status 2. The standard `OTEL_*` variables configure [traces](../howto/traces.md).
"""
ERRORS = """\
The exceptions that Twelvefold raises, with the reader of each message. They are in the module
`twelvefold.errors`; `twelvefold` itself has those that tools raise or catch, `DuplicateRow` and
`ToolRefused`. The errors of the API are in [The API over HTTP](http.md#errors).
"""
EVENTS = """\
The events of the journal. `type` and `version` (always 1) are columns of the table `events`; the
fields below are the JSON in its column `body`. Fields with their default value are left out.
[The journal](journal.md) describes how to read them.
"""
TABLES = """\
The tables that `twelvefold migrate` creates, with the types of MySQL. Times are microseconds since
1970, as integers. [The journal](journal.md#the-tables) describes how the tables are used.
"""
STATUSES = {
    command.DONE: "success; for `run` and `runs resume`: the run completed",
    command.FAILED: "failure",
    command.BAD_USAGE: "invalid command line or setting, or an unknown name",
    command.TRY_AGAIN: "not finished, or a service is unavailable: try again",
    command.INTERRUPTED: "interrupted by Ctrl-C, together with its run",
    CLOSED_PIPE: "broken pipe (SIGPIPE)",
}
WORDS = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    Any: "any",
}
COLUMN = r"(?:^ +|ADD COLUMN )`?([a-z_0-9]+)`? ([A-Z]+.*?) (?:NOT )?NULL"
ASCII = " CHARACTER SET ascii COLLATE ascii_bin"
VERSION_TABLE = "twelvefold_version"


def settings() -> str:
    rows = [
        (code(one.name), one.meaning + (" (secret)" if one.secret else ""), code(one.default))
        for one in list_variables()
    ]
    return page("Settings", SETTINGS, table(("variable", "meaning", "default"), rows))


def commands() -> str:
    top = build_parser()
    parts = [part for parser in commands_of(top) for part in one_command(parser, "##")]
    about = "`twelvefold COMMAND --help` prints the same."
    return page("Commands", top.description or "", fence(top.epilog or ""), about, *parts)


def commands_of(parser: argparse.ArgumentParser) -> Iterator[Parser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def one_command(parser: Parser, heading: str) -> Iterator[str]:
    if parser.add_arguments:
        parser.add_arguments(parser)
    yield f"{heading} {parser.prog}"
    yield parser.description or ""
    if arguments := list(arguments_of(parser)):
        yield table(("argument", ""), arguments)
    if parser.epilog:
        yield fence(parser.epilog)
    for below in commands_of(parser):
        yield from one_command(below, f"{heading}#")


def arguments_of(parser: Parser) -> Iterator[tuple[str, str]]:
    one_of = [group for group in parser._mutually_exclusive_groups if group.required]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        does = action.help or ""
        if action.choices:
            does += f": {', '.join(map(code, action.choices))}"
        if action.option_strings and action.required:
            does += " (required)"
        if any(action in group._group_actions for group in one_of):
            does += " (one of these is required)"
        yield code(signature(action)), does


def signature(action: argparse.Action) -> str:
    """Return an argument as on the command line, such as `--limit N`."""
    name = (action.option_strings or [action.dest])[-1].lstrip("-")
    value = "" if action.nargs == 0 else str(action.metavar or name.upper())
    shown = " ".join(filter(None, (", ".join(action.option_strings), value)))
    return f"{shown} …" if action.nargs == "+" else shown


def exits() -> str:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = [
        (code(kind.__name__), str(command.describe_error(an_error(kind))[0]), summary(kind))
        for kind in kinds
    ]
    return page(
        "Errors and exit statuses",
        ERRORS,
        fence((errors.__doc__ or "").partition("\n\n")[2]),
        "## Exit statuses",
        table(("status", ""), [(str(status), meaning) for status, meaning in STATUSES.items()]),
        "## Exit status of an error",
        table(("error", "status", ""), raised),
    )


def an_error(kind: type[errors.TwelvefoldError]) -> errors.TwelvefoldError:
    return errors.Repeated("", "") if kind is errors.Repeated else kind("")


def summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0].rstrip(".")


def events() -> str:
    parts = [part for kind in get_args(Event) for part in one_struct(kind, "##")]
    parts += ["## Types of fields"]
    kinds = (Usage, RequestOptions, Ancestry, ChildLimits)
    parts += [part for kind in kinds for part in one_struct(kind, "###")]
    return page("Events", EVENTS, *parts)


def one_struct(kind: type[msgspec.Struct], heading: str) -> Iterator[str]:
    yield f"{heading} {kind.__name__}"
    yield re.sub(r"\n    ", "\n", kind.__doc__ or "")
    rows = [
        (code(field.encode_name), type_of(field.type), default_of(field))
        for field in msgspec.structs.fields(kind)
    ]
    yield table(("field", "type", "default"), rows)


def type_of(kind: Any) -> str:
    """Return the name of a type in JSON."""
    match get_origin(kind):
        case None:
            plain = getattr(kind, "__supertype__", kind)  # of a NewType
            return WORDS.get(plain) or str(plain.__name__)
        case typing.Literal:
            return " or ".join(map(code, get_args(kind)))
        case builtins.tuple:
            return f"list of {type_of(get_args(kind)[0])}s"
        case builtins.dict:
            return "object"
        case _:
            return " or ".join(type_of(one) for one in get_args(kind))


def default_of(field: FieldInfo) -> str:
    if field.required:
        return ""
    is_factory = field.default is msgspec.NODEFAULT
    value = field.default_factory() if is_factory else field.default
    return "all defaults" if isinstance(value, msgspec.Struct) else code(json.dumps(value))


def schema() -> str:
    """Return the page of the tables after all migrations."""
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/journal.db"
        asyncio.run(migrate_journal(Settings(database_url=url)))
        engine = create_engine(url)
        tables = inspect(engine)
        names = sorted(set(tables.get_table_names()) - {VERSION_TABLE})
        parts = [part for name in names for part in one_table(tables, name)]
        engine.dispose()
    return page("Tables", TABLES, *parts)


def one_table(tables: Inspector, name: str) -> Iterator[str]:
    types = mysql_types(name)
    rows = [
        (code(one["name"]), types[one["name"]], "may be NULL" if one["nullable"] else "")
        for one in tables.get_columns(name)
    ]
    keys: list[tuple[str, Iterable[object]]] = [
        ("primary key", tables.get_pk_constraint(name)["constrained_columns"])
    ]
    keys += [("unique", one["column_names"]) for one in tables.get_unique_constraints(name)]
    keys += [(f"index `{one['name']}`", one["column_names"]) for one in tables.get_indexes(name)]
    yield f"## {name}"
    yield table(("column", "type", ""), rows)
    yield "\n".join(f"- {kind}: {', '.join(map(code, columns))}" for kind, columns in keys)


def mysql_types(name: str) -> dict[str, str]:
    """Return the type of each column in the SQL for MySQL."""
    statements = journal_sql(Settings(database_url="mysql://user@host/database"))
    created = re.findall(rf"CREATE TABLE IF NOT EXISTS {name} \(.*?;", statements, re.DOTALL)
    altered = re.findall(rf"ALTER TABLE {name} (ADD COLUMN [^']*)", statements)
    found = re.findall(COLUMN, "\n".join(created + altered), re.MULTILINE)
    return {column: kind.replace(ASCII, " ascii") for column, kind in found}


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "commands.md": commands,
    "errors.md": exits,
    "events.md": events,
    "schema.md": schema,
    "api.md": api,
    **python_pages(),
}


def main() -> None:
    for stale in set(REFERENCE.glob(f"{DIRECTORY}/**/*.md")) - {REFERENCE / name for name in PAGES}:
        stale.unlink()
    for name, generate in PAGES.items():
        (REFERENCE / name).parent.mkdir(parents=True, exist_ok=True)
        (REFERENCE / name).write_text(generate())


if __name__ == "__main__":
    main()
