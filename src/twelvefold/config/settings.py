"""The class `Settings`: the table of all settings.

The annotation of a field has its type, its parser and its description.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal, Self

from twelvefold.config.models import Accepts, Api, NamedModel, named_models, price, with_keys
from twelvefold.config.parse import (
    database,
    header,
    headers,
    import_paths,
    integer,
    login_of,
    masked,
    networks,
    number,
    one_of,
    printable,
    text,
    url,
    words,
)
from twelvefold.config.variables import (
    INVALID,
    MYSQL,
    MYSQL_NAMES,
    EnvironReader,
    Variable,
    default_text,
    normalise,
)
from twelvefold.errors import SettingsError
from twelvefold.observe.log import LogFormat, LogLevel

if TYPE_CHECKING:
    from twelvefold.core import Price

SECRET = "secret"  # noqa: S105 - marks a secret field
BUILT_IN_WORKFLOW = "twelvefold.workflows.enrolment.workflow:workflow"
OPENAI_URL = "https://api.openai.com/v1"

ToolItems = Literal["mcp_call", "function", "hidden"]
ToolOutputs = Literal["full", "summary", "none"]
InputFiles = Literal["full", "summary", "none"]
ChildItems = Literal["hidden", "nested"]
WebDrives = Literal["foreground", "background"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process. An empty variable counts as not set.

    Each field is an environment variable in upper case: see the reference of settings.

    Example:
        from twelvefold import Settings

        settings = Settings.from_environ({"DATABASE_URL": "sqlite:///shop.db", "MAX_STEPS": "20"})
        assert settings.max_steps == 20
    """

    database_url: Annotated[
        str,
        database,
        "mysql://user:password@host:3306/database, with a comma between several hosts, or "
        "sqlite:///file.db",
        SECRET,
    ] = "sqlite:///twelvefold.db"
    database_password_file: Annotated[
        str, printable, "file with the password of DATABASE_URL; read again when it is replaced"
    ] = ""
    database_pool_size: Annotated[
        int,
        integer(1, 10_000),
        "MySQL connections per process for tools; 10 more are reserved for the journal",
    ] = 10

    openai_api_key: Annotated[
        str, header, "if neither this nor OPENAI_BASE_URL is set, the demo model responds", SECRET
    ] = ""
    openai_api_key_file: Annotated[
        str, printable, "file with OPENAI_API_KEY; read again when it is replaced"
    ] = ""
    openai_base_url: Annotated[str, url("https", "http"), f"default: {OPENAI_URL}", SECRET] = ""
    openai_headers: Annotated[
        tuple[tuple[str, str], ...],
        headers,
        "additional headers for the model server: a JSON object, or lines of Name: value",
        SECRET,
    ] = ()
    openai_organization: Annotated[str, header, "sent as OpenAI-Organization"] = ""
    openai_project: Annotated[str, header, "sent as OpenAI-Project"] = ""
    openai_model: Annotated[str, text, "name of the model"] = "gpt-5-mini"
    openai_api: Annotated[
        Api, one_of(Api), "responses, or chat for servers with Chat Completions only"
    ] = "responses"
    openai_temperature: Annotated[
        float | None, number(0, 2), "0 to 2; default: that of the model"
    ] = None
    openai_max_output_tokens: Annotated[
        int | None,
        integer(1),
        "maximum tokens of a reply; callers can request fewer; default: that of the model",
    ] = None
    openai_context_tokens: Annotated[
        int | None,
        integer(1_000),
        "context window of the model; default: that of a known model, else 128000",
    ] = None
    openai_price: Annotated[
        "Price | None",
        price,
        'price of the model in USD per million tokens, as {"input": 0.25, "cached": 0.025, '
        '"output": 2}; default: that of a known model',
    ] = None
    openai_accepts: Annotated[
        tuple[Accepts, ...],
        words(Accepts),
        "what the model takes beside text: image, file, or both with a comma; default: text alone",
    ] = ()
    models: Annotated[
        tuple[NamedModel, ...],
        named_models,
        'more models for workflows, a JSON object, as in {"fast": {"model": "gpt-5-mini"}}',
        SECRET,
    ] = ()
    model_timeout_s: Annotated[
        float,
        number(0.1, 3_600),
        "seconds without data from the model until the request is retried",
    ] = 120.0

    https_proxy: Annotated[
        str, printable, "proxy for a model server at https://; also read in lower case", SECRET
    ] = ""
    http_proxy: Annotated[
        str, printable, "proxy for a model server at http://; also read in lower case", SECRET
    ] = ""
    no_proxy: Annotated[
        str,
        printable,
        "hosts to connect to without a proxy: names, networks, or *; also read in lower case",
    ] = ""

    ssl_cert_file: Annotated[
        str, printable, "PEM file with the trusted certificates; default: those of the system"
    ] = ""

    workflows: Annotated[
        tuple[str, ...], import_paths, "module:object, comma-separated; the first is the default"
    ] = (BUILT_IN_WORKFLOW,)
    max_steps: Annotated[int, integer(1, 100_000), "maximum model replies in a run"] = 50
    max_calls_per_reply: Annotated[
        int, integer(1, 1_000), "maximum tool calls of a reply that are run; others are rejected"
    ] = 32
    max_conversation_entries: Annotated[
        int,
        integer(10, 1_000_000),
        "maximum journal entries of a conversation, those it was forked from included",
    ] = 10_000
    max_conversation_bytes: Annotated[
        int,
        integer(65_536, 1 << 30),
        "maximum size of a conversation's journal in bytes, images included",
    ] = 16_777_216
    run_deadline_s: Annotated[
        float, number(1, 86_400), "maximum seconds that one process drives a run"
    ] = 600.0
    run_budget_tokens: Annotated[
        int | None, integer(1), "maximum tokens of a run, input and output; default: no limit"
    ] = None
    run_budget_usd: Annotated[
        float | None, number(0.0001, 1_000_000), "maximum cost of a run; default: no limit"
    ] = None

    lease_s: Annotated[
        float,
        number(1, 3_600),
        "seconds until another process takes a dead process's runs and mail",
    ] = 30.0
    max_attempts: Annotated[int, integer(1, 1_000), "attempts at a step before the run fails"] = 10
    max_runs: Annotated[int, integer(1, 100_000), "maximum concurrent runs in a process"] = 256
    max_runs_per_principal: Annotated[
        int | None,
        integer(1, 100_000),
        "share of MAX_RUNS for one principal; default: half in `web`, 7/8 in `worker`",
    ] = None
    max_active_runs_per_key: Annotated[
        int | None,
        integer(1, 1_000),
        "maximum runs of one key that `web` and `worker` processes drive together; default: no "
        "limit",
    ] = None
    max_active_runs_per_principal: Annotated[
        int | None, integer(1, 1_000), "the same for one principal; default: no limit"
    ] = None
    max_run_bytes: Annotated[
        int,
        integer(65_536, 1 << 40),
        "maximum bytes of the conversations of concurrent runs in a process; one principal may use "
        "half of them in `web`, 7/8 in `worker`",
    ] = 25_165_824
    max_queued: Annotated[
        int,
        integer(1, 10_000_000),
        "maximum queued background runs of web's workflows; `web` rejects more",
    ] = 10_000
    max_queued_per_principal: Annotated[
        int | None,
        integer(1, 10_000_000),
        "maximum queued runs of one principal; default: half of MAX_QUEUED",
    ] = None
    grace_s: Annotated[
        float,
        number(0, 3_600),
        "seconds for the current steps after SIGTERM; the process ends within 5 more",
    ] = 20.0

    host: Annotated[str, text, "the address `web` listens on"] = "127.0.0.1"
    port: Annotated[int, integer(0, 65_535), "the port `web` listens on; 0: any free port"] = 8000
    metrics_port: Annotated[
        int | None,
        integer(0, 65_535),
        "port at HOST where `web` and `worker` serve /metrics without a key; 0: any "
        "free port; default: nothing is measured",
    ] = None
    tls_cert: Annotated[
        str, printable, "file with the certificate chain; default: `web` serves plain HTTP"
    ] = ""
    tls_key: Annotated[
        str, printable, "file with the certificate's key; default: TLS_CERT has both"
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...], networks, "addresses or networks whose X-Forwarded-* headers are trusted"
    ] = ()
    web_drives: Annotated[
        WebDrives | None,
        one_of(WebDrives),
        "background: `web` is also a worker; foreground: it is not; default: background on SQLite",
    ] = None
    max_body_bytes: Annotated[int, integer(1_024), "maximum size of a request body in bytes"] = (
        4_194_304
    )
    max_connections: Annotated[
        int | None,
        integer(1, 1_000_000),
        "maximum open connections of a `web` process; default: what the limit on open files "
        "allows, at most 2048",
    ] = None
    rate_per_minute: Annotated[
        int | None,
        integer(1, 100_000_000),
        "maximum requests a minute per key, over all processes; default: no limit",
    ] = None
    rate_per_minute_per_principal: Annotated[
        int | None,
        integer(1, 100_000_000),
        "maximum requests a minute per principal, over all processes; default: no limit",
    ] = None
    max_concurrent_requests: Annotated[
        int,
        integer(1, 10_000),
        "concurrent requests of one principal in `web` while others are active; more wait",
    ] = 4
    max_loop_share: Annotated[
        float,
        number(0.01, 1),
        "share of web's event loop for one principal while others are active",
    ] = 0.3
    tool_items: Annotated[
        ToolItems, one_of(ToolItems), "tool calls in responses: mcp_call, function or hidden"
    ] = "mcp_call"
    tool_outputs: Annotated[
        ToolOutputs, one_of(ToolOutputs), "tool results in responses: full, summary or none"
    ] = "full"
    child_items: Annotated[
        ChildItems,
        one_of(ChildItems),
        "items of the runs that a response has started: hidden, or nested behind the call that "
        "started them",
    ] = "hidden"
    input_files: Annotated[
        InputFiles,
        one_of(InputFiles),
        "images and files of the input when they are read again: full, summary (name, type and "
        "size) or none",
    ] = "full"
    smtp_url: Annotated[
        str, url("smtp", "smtps"), "the mail server; default: mail stays in the outbox", SECRET
    ] = ""
    smtp_password_file: Annotated[
        str, printable, "file with the password of SMTP_URL; read again when it is replaced"
    ] = ""
    mail_from: Annotated[str, text, "the sender of mail"] = ""
    broker_url: Annotated[
        str,
        url("amqp", "amqps"),
        "RabbitMQ that wakes workers, amqp://user:password@host/vhost; default: workers poll the "
        "database every second",
        SECRET,
    ] = ""
    broker_password_file: Annotated[
        str, printable, "file with the password of BROKER_URL; read again when it is replaced"
    ] = ""

    log_level: Annotated[
        LogLevel,
        one_of(LogLevel),
        "debug, info, warning or error; other libraries log warnings and errors only",
    ] = "info"
    log_format: Annotated[
        LogFormat | None, one_of(LogFormat), "json or text; default: text on a terminal, else json"
    ] = None
    release_id: Annotated[
        str, text, "recorded in every run and log line; default: the package's version"
    ] = ""

    def __repr__(self) -> str:
        """Return the representation of a dataclass, with secrets masked."""
        values = ((one, getattr(self, one.field)) for one in list_variables() if one.field)
        shown = (f"{v.field}={_mask(value) if v.secret else value!r}" for v, value in values)
        return f"Settings({', '.join(shown)})"

    @property
    def model_base_url(self) -> str:
        """The URL of the model server; "" for the built-in demo model."""
        has_key = self.openai_api_key or self.openai_api_key_file
        return self.openai_base_url or (OPENAI_URL if has_key else "")

    @property
    def model_headers(self) -> dict[str, str]:
        """Headers of every request to the model server, except the key."""
        named = {
            "OpenAI-Organization": self.openai_organization,
            "OpenAI-Project": self.openai_project,
        }
        given = {name: value for name, value in named.items() if value}
        return given | dict(self.openai_headers)

    @property
    def web_is_worker(self) -> bool:
        """Whether a web process is also a worker."""
        embedded = self.database_url.startswith("sqlite")
        return (self.web_drives or ("background" if embedded else "foreground")) == "background"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read all variables. Raises SettingsError with a line for each invalid one."""
        given = normalise(environ)
        reader = EnvironReader(given)
        values = {v.field: reader.value(v) for v in list_variables() if v.name in given and v.field}
        if MYSQL_NAMES & given.keys() and "DATABASE_URL" not in given:
            values["database_url"] = reader.mysql_url()
        if models := values.get("models"):
            values["models"] = with_keys(models, given, reader.problems)
        reader.reject_unknown(variable.name for variable in list_variables())
        settings = cls(**{field: value for field, value in values.items() if value != INVALID})
        reader.problems += _inconsistencies(settings)
        if reader.problems:
            raise SettingsError(*reader.problems)
        return settings


def list_variables() -> Iterator[Variable]:
    """Return all variables in the order of the table."""
    for field in fields(Settings):
        parse, meaning, *marks = Settings.__annotations__[field.name].__metadata__
        default = default_text(field.default)
        yield Variable(field.name.upper(), parse, meaning, default, SECRET in marks, field.name)
        if field.name == "database_url":
            yield from MYSQL


def _mask(value: object) -> str:
    return masked(value) if isinstance(value, str) else "****" if value else ""


def _inconsistencies(settings: Settings) -> Iterator[str]:
    if settings.run_budget_usd is not None and (settings.model_base_url or settings.models):
        yield from _unknown_prices(settings)
    if settings.tls_key and not settings.tls_cert:
        yield "TLS_KEY: is set, though TLS_CERT is not"
    if settings.openai_api_key_file and settings.openai_api_key:
        yield "OPENAI_API_KEY_FILE: excludes OPENAI_API_KEY; set one of the two"
    if settings.database_password_file:
        yield from _password_problems("DATABASE", settings.database_url)
    if settings.smtp_password_file:
        yield from _password_problems("SMTP", settings.smtp_url)
    if settings.broker_password_file:
        yield from _password_problems("BROKER", settings.broker_url)


def _password_problems(service: str, url: str) -> Iterator[str]:
    """Yield a problem if a URL whose password is in a file has its own, or no user."""
    variable, of = f"{service}_PASSWORD_FILE", f"{service}_URL"
    user, _, password = login_of(url).partition(":")
    if password:
        others = " or MYSQL_PASSWORD" if service == "DATABASE" else ""
        yield f"{variable}: excludes the password of {of}{others}; set one of the two"
    elif not user:
        yield f"{variable}: is set, though {of} has no user"


def _unknown_prices(settings: Settings) -> Iterator[str]:
    """Yield a problem for each model without a price, which a budget in USD needs."""
    from twelvefold.services.model.prices import price_of

    # The demo model is free.
    url, model = settings.model_base_url, settings.openai_model
    if url and settings.openai_price is None and price_of(model, url) is None:
        yield (
            f"RUN_BUDGET_USD: the price of OPENAI_MODEL {model!r} is unknown; "
            "set OPENAI_PRICE, or use RUN_BUDGET_TOKENS"
        )
    for named in settings.models:
        server = named.url or url
        if server and named.price is None and price_of(named.model, server) is None:
            yield (
                f"MODELS: {named.name}: price: is not set, and that of {named.model!r} is unknown; "
                "RUN_BUDGET_USD needs it"
            )
