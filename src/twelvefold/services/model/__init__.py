"""The attached model: a client of the OpenAI API, or another implementation of the same port.

`openai` connects to a server. `demo` is used if no server is set, `scripted` in tests, and
`cassette` replays a recorded conversation.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twelvefold.secret_file import SecretFile
    from twelvefold.services.model.http import Proxies, Transport
    from twelvefold.services.model.openai import Api, OpenAIModel

_MAX_CONNECT_TIMEOUT_S = 10.0


def open_model(
    *,
    base_url: str,
    api_key: "str | SecretFile",
    model: str,
    api: "Api" = "responses",
    temperature: float | None = None,
    max_output_tokens: int | None = None,
    timeout_s: float = 120.0,
    headers: Mapping[str, str] | None = None,
    proxies: "Proxies | None" = None,
    ca_file: str = "",
    transport: "Transport | None" = None,
) -> "OpenAIModel":
    """Return the model for the settings. It connects on its first reply.

    `timeout_s` limits the silence before the first token; between tokens the limit is half of
    it. An empty `base_url` selects the demo model, which needs neither key nor network. The
    default `proxies` are those of the process's environment. `ca_file` is a PEM file with the
    certificates to trust, "" for the system's list. `transport`: connections to the same server
    that other models use as well; by default the model has its own.
    """
    if not base_url:
        from twelvefold.services.model.demo import open_demo

        return open_demo()
    from twelvefold.services.model.http import Proxies
    from twelvefold.services.model.openai import ModelSettings, OpenAIModel

    settings = ModelSettings(
        base_url=base_url,
        api_key=api_key,
        model=model,
        api=api,
        headers=headers or {},
        proxies=Proxies.from_environment() if proxies is None else proxies,
        ca_file=ca_file,
        temperature=temperature,
        max_output_tokens=max_output_tokens,
        connect_timeout_s=min(timeout_s, _MAX_CONNECT_TIMEOUT_S),
        first_token_timeout_s=timeout_s,
        between_tokens_timeout_s=timeout_s / 2,
    )
    return OpenAIModel(settings, transport)
