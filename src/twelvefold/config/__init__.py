"""Every setting, parsed once and documented once; the class `Settings` is the table.

A field's annotation has its type, how its variable is read, and what it means. Nothing below
`boot` asks for a setting: it is handed a value. Why this is not pydantic-settings stands in
docs/decisions/010-settings.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from twelvefold.config.parse import (
    Parse,
    database,
    header,
    headers,
    import_paths,
    masked,
    networks,
    number,
    one_of,
    path,
    printable,
    text,
    url,
    whole,
)
from twelvefold.errors import SettingsError
from twelvefold.observe.log import LogFormat, LogLevel

SECRET = "secret"  # noqa: S105 - a mark in the table, not one of them
BUILT_IN = "twelvefold.workflows.enrolment.workflow:workflow"
OPENAI = "https://api.openai.com/v1"
OF_THE_TESTS = {"TWELVEFOLD_SERVICES", "TWELVEFOLD_SHARED"}
"""Read by `make` and the tests alone; no other variable may begin with our name."""

IN_LOWER_CASE = ("https_proxy", "http_proxy", "no_proxy")
"""Read as well as the names in upper case, and before them, as curl does."""

ALIKE = 0.87
"""As difflib measures it: one letter lost of eight is nearer, another word of four is not."""

Api = Literal["responses", "chat"]
ToolItems = Literal["mcp_call", "function", "hidden"]
ToolOutputs = Literal["full", "summary", "none"]
WebDrives = Literal["foreground", "background"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. A variable that is empty counts as not set."""

    database_url: Annotated[
        str, database, "mysql://user:password@host:3306/database or sqlite:///file.db", SECRET
    ] = "sqlite:///twelvefold.db"
    database_pool_size: Annotated[
        int,
        whole(1, 10_000),
        "connections to MySQL that the tools of one process may hold; ten more do the rest",
    ] = 10

    openai_api_key: Annotated[
        str, header, "not set, nor OPENAI_BASE_URL: the built-in demo model answers", SECRET
    ] = ""
    openai_base_url: Annotated[str, url("https", "http"), f"not set: {OPENAI}", SECRET] = ""
    openai_headers: Annotated[
        tuple[tuple[str, str], ...],
        headers,
        "more headers for the model's server: a JSON object, or lines of Name: value",
        SECRET,
    ] = ()
    openai_organization: Annotated[str, header, "sent as OpenAI-Organization"] = ""
    openai_project: Annotated[str, header, "sent as OpenAI-Project"] = ""
    openai_model: Annotated[str, text, "the model to ask"] = "gpt-5-mini"
    openai_api: Annotated[
        Api, one_of(Api), "responses, or chat where only Chat Completions are served"
    ] = "responses"
    openai_temperature: Annotated[
        float | None, number(0, 2), "0 to 2; not set: the model's own"
    ] = None
    openai_max_output_tokens: Annotated[
        int | None,
        whole(1),
        "bounds each reply, whatever a caller asks for; not set: the model's own",
    ] = None
    openai_context_tokens: Annotated[
        int | None, whole(1_000), "the model's window; not set: a known model's own, else 128000"
    ] = None
    model_timeout_s: Annotated[
        float, number(0.1, 3_600), "seconds of the model's silence before it is asked again"
    ] = 120.0

    https_proxy: Annotated[
        str, printable, "proxy to a model's server at https://; in lower case, too", SECRET
    ] = ""
    http_proxy: Annotated[
        str, printable, "proxy to a model's server at http://; in lower case, too", SECRET
    ] = ""
    no_proxy: Annotated[
        str,
        printable,
        "hosts that need no proxy: names, networks, or *; in lower case, too",
    ] = ""

    ssl_cert_file: Annotated[
        str, path, "PEM file with the certificates to trust; not set: the system's"
    ] = ""

    workflows: Annotated[
        tuple[str, ...], import_paths, "module:object, commas between; the first is the default"
    ] = (BUILT_IN,)
    max_steps: Annotated[int, whole(1, 100_000), "replies of the model in one run"] = 50
    max_calls_per_reply: Annotated[
        int, whole(1, 1_000), "tool calls of one reply that are run; the others are refused"
    ] = 32
    max_conversation_entries: Annotated[
        int, whole(10, 1_000_000), "journal entries of one conversation, forks with their origin"
    ] = 10_000
    max_conversation_bytes: Annotated[
        int, whole(65_536, 1 << 30), "bytes of one conversation's journal, images included"
    ] = 16_777_216
    run_deadline_s: Annotated[
        float, number(1, 86_400), "seconds that one process may drive a run"
    ] = 600.0
    run_budget_tokens: Annotated[
        int | None, whole(1), "tokens that a run may use, in and out; not set: no limit"
    ] = None
    run_budget_usd: Annotated[
        float | None, number(0.0001, 1_000_000), "what a run may cost; not set: no limit"
    ] = None

    lease_s: Annotated[
        float, number(1, 3_600), "seconds until a dead process's run or mail may be taken over"
    ] = 30.0
    max_attempts: Annotated[
        int, whole(1, 1_000), "attempts at one step of a run before it fails"
    ] = 10
    max_runs: Annotated[int, whole(1, 100_000), "runs in flight in one process"] = 256
    max_runs_per_principal: Annotated[
        int | None,
        whole(1, 100_000),
        "of MAX_RUNS, those of one principal; not set: half of them in web, 7/8 in a worker",
    ] = None
    max_run_bytes: Annotated[
        int,
        whole(65_536, 1 << 40),
        "bytes of the conversations of runs in flight in one process; for one principal half of "
        "them, in a worker 7/8",
    ] = 25_165_824
    max_queued: Annotated[
        int,
        whole(1, 10_000_000),
        "background runs of web's workflows that may wait before it refuses more",
    ] = 10_000
    max_queued_per_principal: Annotated[
        int | None,
        whole(1, 10_000_000),
        "those of one principal that may wait; not set: half of MAX_QUEUED",
    ] = None
    grace_s: Annotated[
        float,
        number(0, 3_600),
        "seconds that a step in hand may go on after SIGTERM; 5 more end the process",
    ] = 20.0

    host: Annotated[str, text, "the address at which web listens"] = "127.0.0.1"
    port: Annotated[int, whole(0, 65_535), "the port that `web` listens on; 0: any free port"] = (
        8000
    )
    tls_cert: Annotated[
        str, path, "file with the certificate chain; not set: web speaks plain HTTP"
    ] = ""
    tls_key: Annotated[str, path, "file with its key; not set: TLS_CERT has it, too"] = ""
    trusted_proxies: Annotated[
        tuple[str, ...], networks, "addresses or networks whose X-Forwarded-* web believes"
    ] = ()
    web_drives: Annotated[
        WebDrives | None,
        one_of(WebDrives),
        "foreground, or background: web is a worker, too; not set: background on SQLite",
    ] = None
    max_body_bytes: Annotated[int, whole(1_024), "the longest request that web takes"] = 4_194_304
    max_connections: Annotated[
        int | None,
        whole(1, 1_000_000),
        "connections that one web process keeps open; not set: what its limit on open files "
        "allows, 2048 at most",
    ] = None
    rate_per_minute: Annotated[
        int | None, whole(1), "requests a minute for one key in one process; not set: no limit"
    ] = None
    max_concurrent_requests: Annotated[
        int,
        whole(1, 10_000),
        "requests of one principal that web handles at once while others use it; more wait",
    ] = 4
    max_loop_share: Annotated[
        float,
        number(0.01, 1),
        "part of web's event loop that one principal may use while others use it",
    ] = 0.3
    tool_items: Annotated[
        ToolItems, one_of(ToolItems), "tool calls in web's answers: mcp_call, function or hidden"
    ] = "mcp_call"
    tool_outputs: Annotated[
        ToolOutputs, one_of(ToolOutputs), "tool results in web's answers: full, summary or none"
    ] = "full"
    smtp_url: Annotated[
        str, url("smtp", "smtps"), "who sends mail; not set: it stays in the outbox", SECRET
    ] = ""
    mail_from: Annotated[str, text, "the sender of mail"] = ""

    log_level: Annotated[
        LogLevel,
        one_of(LogLevel),
        "debug, info, warning or error; of other libraries, warnings and errors are logged",
    ] = "info"
    log_format: Annotated[
        LogFormat | None, one_of(LogFormat), "json or text; not set: text on a terminal, else json"
    ] = None
    release_id: Annotated[
        str, text, "stands in every run and log line; not set: the package's version"
    ] = ""

    def __repr__(self) -> str:
        """As a dataclass has it, secrets masked."""
        values = ((one, getattr(self, one.field)) for one in variables() if one.field)
        shown = (f"{v.field}={_masked(value) if v.secret else value!r}" for v, value in values)
        return f"Settings({', '.join(shown)})"

    @property
    def model_base_url(self) -> str:
        """Where the model answers; "" means the built-in demo model."""
        return self.openai_base_url or (OPENAI if self.openai_api_key else "")

    @property
    def model_headers(self) -> dict[str, str]:
        """What goes into every request to the model's server beside the key."""
        named = {
            "OpenAI-Organization": self.openai_organization,
            "OpenAI-Project": self.openai_project,
        }
        given = {name: value for name, value in named.items() if value}
        return given | dict(self.openai_headers)

    @property
    def web_is_worker(self) -> bool:
        """Whether a web process does a worker's work, too."""
        embedded = self.database_url.startswith("sqlite")
        return (self.web_drives or ("background" if embedded else "foreground")) == "background"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read every variable. Raises SettingsError with a line for each that is wrong."""
        given = as_named(environ)
        reading = _Reading(given)
        values = {v.field: reading.value(v) for v in variables() if v.name in given and v.field}
        if MYSQL_NAMES & given.keys() and "DATABASE_URL" not in given:
            values["database_url"] = reading.database_url()
        reading.refuse_unknown()
        settings = cls(**{field: value for field, value in values.items() if value != BAD})
        reading.refuse_unpriced(settings)
        reading.refuse_lone_key(settings)
        reading.refuse_broker()
        if reading.problems:
            raise SettingsError(*reading.problems)
        return settings


@dataclass(frozen=True, slots=True)
class Variable:
    """A line of the table. `field` is "" for a part of DATABASE_URL."""

    name: str
    parse: Parse
    meaning: str
    default: str = ""
    secret: bool = False
    field: str = ""


MYSQL = (
    Variable("MYSQL_HOST", text, "in place of DATABASE_URL: the server", "127.0.0.1"),
    Variable("MYSQL_PORT", whole(1, 65_535), "… its port", "3306"),
    Variable("MYSQL_USER", text, "… the user"),
    Variable("MYSQL_PASSWORD", str, "… the password", secret=True),
    Variable("MYSQL_DATABASE", text, "… the database"),
    Variable("MYSQL_CHARSET", text, "… the connection's character set", "utf8mb4"),
)
MYSQL_NAMES = {variable.name for variable in MYSQL}


def as_named(environ: Mapping[str, str]) -> dict[str, str]:
    """What is set, by the names of the table: other tools write some of them in lower case."""
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    return given | {name.upper(): given[name] for name in IN_LOWER_CASE if name in given}


def variables() -> Iterator[Variable]:
    """Every variable that is read, in the order of the table."""
    for field in fields(Settings):
        parse, meaning, *marks = Settings.__annotations__[field.name].__metadata__
        default = _shown(field.default)
        yield Variable(field.name.upper(), parse, meaning, default, SECRET in marks, field.name)
        if field.name == "database_url":
            yield from MYSQL


def misspelt(given: Iterable[str]) -> list[str]:
    """A sentence for each name that is nearly a setting's; others are somebody else's."""
    known = [variable.name for variable in variables()]
    unknown = [name for name in given if name not in known]
    if not unknown:
        return []
    from difflib import get_close_matches

    near = {name: get_close_matches(name, known, n=1, cutoff=ALIKE) for name in unknown}
    return [f"{name} is not known; {close[0]} is meant?" for name, close in near.items() if close]


def unused(given: Mapping[str, str]) -> list[str]:
    """A sentence for each setting that another one makes useless."""
    names = sorted(name for name in MYSQL_NAMES if given.get(name))
    if not given.get("DATABASE_URL") or not names:
        return []
    return [f"{', '.join(names)}: not used, since DATABASE_URL is set"]


def _masked(value: object) -> str:
    """A secret of the table as it may be shown."""
    return masked(value) if isinstance(value, str) else "****" if value else ""


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default or "")


BAD = ""
"""In place of a value that could not be read; no variable that is set has it."""


class _Reading:
    """One look at the environment, which goes on after a problem."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.problems: list[str] = []

    def value(self, variable: Variable) -> Any:
        found = self._given.get(variable.name, variable.default)
        try:
            return variable.parse(found)
        except ValueError as error:
            shown = masked(found) if variable.secret else found
            self.problems.append(f"{variable.name}: {shown!r}: {error}")
            return BAD

    def database_url(self) -> str:
        both = sorted(MYSQL_NAMES & self._given.keys())
        for name in ("MYSQL_USER", "MYSQL_DATABASE"):
            if name not in self._given:
                self.problems.append(f"{name}: is not set, though {both[0]} is")
        parts = {one.name: quote(str(self.value(one)), safe="") for one in MYSQL}
        host = parts["MYSQL_HOST"].replace("%3A", ":")
        whose = f"{parts['MYSQL_USER']}:{parts['MYSQL_PASSWORD']}"
        where = f"{f'[{host}]' if ':' in host else host}:{parts['MYSQL_PORT']}"
        charset = parts["MYSQL_CHARSET"]
        return f"mysql://{whose}@{where}/{parts['MYSQL_DATABASE']}?charset={charset}"

    def refuse_unknown(self) -> None:
        known = [variable.name for variable in variables()]
        for name in sorted(self._given.keys() - OF_THE_TESTS):
            if name.startswith("TWELVEFOLD_"):
                self.problems.append(f"{name}: is not known{_meant(name, known)}")

    def refuse_unpriced(self, settings: Settings) -> None:
        """A limit in dollars needs a price; the demo model costs nothing."""
        if settings.run_budget_usd is None or not settings.model_base_url:
            return
        from twelvefold.services.model.prices import price_of

        if price_of(settings.openai_model) is None:
            self.problems.append(
                f"RUN_BUDGET_USD: what OPENAI_MODEL {settings.openai_model!r} costs is not known; "
                "use RUN_BUDGET_TOKENS"
            )

    def refuse_broker(self) -> None:
        """What would be passed over in silence would seem to be attached."""
        if "BROKER_URL" in self._given:
            said = "this release works with no broker; unset it: workers look into the table"
            self.problems.append(f"BROKER_URL: {said}")

    def refuse_lone_key(self, settings: Settings) -> None:
        if settings.tls_key and not settings.tls_cert:
            self.problems.append("TLS_KEY: is set, though TLS_CERT is not")


def _meant(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix("TWELVEFOLD_"), known, n=1)
    return f"; {close[0]} is meant?" if close else "; `twelvefold settings` lists what is"
