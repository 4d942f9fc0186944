"""Opens the models of the settings: the default one, and those of MODELS on their first use."""

from collections.abc import Iterable, Iterator, Mapping

from twelvefold.boot.secrets import key_of, openai_key
from twelvefold.config import NamedModel, Settings
from twelvefold.config.models import Api
from twelvefold.core import (
    ALL_INPUTS,
    DEFAULT_MODEL,
    DEFAULT_OPTIONS,
    DEFAULT_WINDOW_TOKENS,
    Limits,
    Model,
    ModelProfile,
    Price,
    Workflow,
    inputs_of,
    models_of,
)
from twelvefold.core.models import unknown_model
from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger
from twelvefold.secret_file import SecretFile
from twelvefold.services.model import open_model
from twelvefold.services.model.http import Endpoint, HTTPTransport, Proxies
from twelvefold.services.model.named import NamedModel as OpenNamedModel
from twelvefold.services.model.prices import price_of, window_of

log = get_logger(__name__)
_MAX_CONNECT_TIMEOUT_S = 10.0
FREE = Price(0, 0, 0)


class OpenModels(Mapping[str, Model]):
    """The models of MODELS, by name. Each is opened when it is first looked up.

    Models on the same server, with the same key and headers, share their connections, also with the
    default model. `given` are open models that replace those of the settings; the caller closes
    them.
    """

    def __init__(self, settings: Settings, given: Mapping[str, Model] | None = None) -> None:
        self._settings = settings
        self._named = {model.name: model for model in settings.models}
        self._given = given or {}
        self._open: dict[str, Model] = {}
        self._transports: list[tuple[Endpoint, HTTPTransport]] = []

    def __getitem__(self, name: str) -> Model:
        if name in self._given:
            return self._given[name]
        if name not in self._open:
            self._open[name] = self._open_named(self._named[name])
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._named, **self._given})

    def __len__(self) -> int:
        return len({**self._named, **self._given})

    def open_default(self, *, is_used: bool = True) -> Model:
        """Open the default model. Logs a warning if it is the demo model and is used."""
        settings = self._settings
        endpoint = default_endpoint(settings)
        if is_used and not endpoint.base_url:
            log.warning("demo_model", why="neither OPENAI_API_KEY nor OPENAI_BASE_URL is set")
        return open_model(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            model=settings.openai_model,
            api=settings.openai_api,
            temperature=settings.openai_temperature,
            max_output_tokens=settings.openai_max_output_tokens,
            timeout_s=settings.model_timeout_s,
            headers=endpoint.headers,
            proxies=endpoint.proxies,
            ca_file=endpoint.ca_file,
            transport=self._transport(endpoint, settings.model_timeout_s),
        )

    async def close(self) -> None:
        """Close the named models that were opened."""
        for model in self._open.values():
            await model.close()

    def _open_named(self, named: NamedModel) -> Model:
        settings, endpoint = self._settings, endpoint_of(self._settings, named)
        timeout_s = named.timeout_s or settings.model_timeout_s
        model = open_model(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            model=named.model,
            api=api_of(self._settings, named),
            temperature=named.temperature,
            max_output_tokens=named.max_output_tokens,
            timeout_s=timeout_s,
            headers=endpoint.headers,
            proxies=endpoint.proxies,
            ca_file=endpoint.ca_file,
            transport=self._transport(endpoint, timeout_s),
        )
        return OpenNamedModel(named.name, model)

    def _transport(self, endpoint: Endpoint, timeout_s: float) -> HTTPTransport | None:
        """Return the connections to the server, None for the demo model."""
        if not endpoint.base_url:
            return None
        for known, transport in self._transports:
            if known == endpoint:
                return transport
        connect_timeout_s = min(timeout_s, _MAX_CONNECT_TIMEOUT_S)
        transport = HTTPTransport(endpoint, connect_timeout_s=connect_timeout_s)
        self._transports.append((endpoint, transport))
        return transport


def default_endpoint(settings: Settings) -> Endpoint:
    """Return the server of the default model; its `base_url` is "" for the demo model."""
    base_url = settings.model_base_url
    key = openai_key(settings) or settings.openai_api_key
    return _endpoint(settings, base_url, key, settings.model_headers)


def endpoint_of(settings: Settings, named: NamedModel) -> Endpoint:
    """Return the server of a named model: its own, or that of the default model."""
    if named.url:
        return _endpoint(settings, named.url, key_of(named) or named.key, dict(named.headers))
    shared = default_endpoint(settings)
    headers = {**shared.headers, **dict(named.headers)}
    return _endpoint(settings, shared.base_url, shared.api_key, headers)


def api_of(settings: Settings, named: NamedModel) -> Api:
    """Return the API of a named model."""
    return named.api or ("responses" if named.url else settings.openai_api)


def _endpoint(
    settings: Settings, base_url: str, api_key: str | SecretFile, headers: Mapping[str, str]
) -> Endpoint:
    proxies = Proxies(settings.https_proxy, settings.http_proxy, settings.no_proxy)
    return Endpoint(base_url, api_key, headers, proxies, settings.ssl_cert_file)


# --- limits ---------------------------------------------------------------------------------------


def profiles_of(settings: Settings, limits: Limits) -> dict[str, ModelProfile]:
    """Return what the settings say about each model; `limits` has that of the default model."""
    accepts = ALL_INPUTS
    if settings.model_base_url:
        accepts = inputs_of(settings.openai_accepts, settings.openai_api)
    cap = settings.openai_max_output_tokens
    default = ModelProfile(limits.context_tokens, limits.price, accepts, cap)
    named = {model.name: _profile(settings, model) for model in settings.models}
    return {DEFAULT_MODEL: default, **named}


def _profile(settings: Settings, named: NamedModel) -> ModelProfile:
    is_demo = not endpoint_of(settings, named).base_url
    # Only a budget in USD needs a price, which may have to be looked up in a large data set.
    price = _named_price(settings, named) if settings.run_budget_usd is not None else None
    return ModelProfile(
        named.window or window_of(named.model) or DEFAULT_WINDOW_TOKENS,
        price,
        # The demo model takes every image and file, and says that it cannot see them.
        ALL_INPUTS if is_demo else inputs_of(named.accepts, api_of(settings, named)),
        named.max_output_tokens,
    )


def default_price(settings: Settings) -> Price | None:
    """Return the price of the default model, None if it is unknown or the demo model's."""
    if not settings.model_base_url:
        return None
    return settings.openai_price or price_of(settings.openai_model, settings.model_base_url)


def _named_price(settings: Settings, named: NamedModel) -> Price | None:
    base_url = endpoint_of(settings, named).base_url
    return named.price or price_of(named.model, base_url) if base_url else None


def find_price(settings: Settings, name: str) -> Price | None:
    """Return the price of a model by its name in MODELS or "default"; None if it is unknown.

    The demo model is free, whatever it is called.
    """
    if name == DEFAULT_MODEL:
        return default_price(settings) if settings.model_base_url else FREE
    named = next((model for model in settings.models if model.name == name), None)
    if named is None:  # a test's own model
        return None
    return _named_price(settings, named) if endpoint_of(settings, named).base_url else FREE


def prices_of(profiles: Mapping[str, ModelProfile]) -> dict[str, Price]:
    """Return the prices that are known, by the model's name."""
    return {name: one.price for name, one in profiles.items() if one.price is not None}


def model_names(settings: Settings) -> dict[str, str]:
    """Return the names of the models for people: that of OPENAI_MODEL, and those in MODELS."""
    default = settings.openai_model if settings.model_base_url else "demo"
    return {DEFAULT_MODEL: default, **{named.name: named.name for named in settings.models}}


def uses_default_model(workflows: Mapping[str, Workflow]) -> bool:
    """Return whether a run of one of these workflows may ask the default model."""
    return any(
        DEFAULT_MODEL in (*models_of(workflow.model, DEFAULT_OPTIONS), *workflow.models)
        for workflow in workflows.values()
    )


def check_models(workflows: Mapping[str, Workflow], models: Iterable[str]) -> None:
    """Raise SettingsError with a line for each model of a workflow that does not exist.

    `models` are the names of those that do, beside the default one.
    """
    known = [DEFAULT_MODEL, *models]
    problems = [
        f"WORKFLOWS: workflow {workflow.name}: {unknown_model(name, known)}"
        for workflow in workflows.values()
        for name in dict.fromkeys((*models_of(workflow.model, DEFAULT_OPTIONS), *workflow.models))
        if name not in known
    ]
    if problems:
        raise SettingsError(*problems)
