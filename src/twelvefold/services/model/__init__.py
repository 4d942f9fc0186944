"""The attached model: one over the OpenAI API, or one of three doubles that obey the same port.

`openai` speaks to a server. `demo` stands in for one where none is set, `scripted` in tests,
`cassette` where a recorded conversation is to be played again.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twelvefold.services.model.http.proxies import Proxies
    from twelvefold.services.model.openai import Api, OpenAIModel

_LONGEST_CONNECT_S = 10.0


def open_model(
    *,
    base_url: str,
    api_key: str,
    model: str,
    api: "Api" = "responses",
    temperature: float | None = None,
    max_output_tokens: int | None = None,
    timeout_s: float = 120.0,
    headers: Mapping[str, str] | None = None,
    proxies: "Proxies | None" = None,
    ca_file: str = "",
) -> "OpenAIModel":
    """The model that the settings name; nothing is connected before its first reply.

    `timeout_s` is how long it may think in silence; once it is writing it gets half of that.
    An empty `base_url` means the demo model, which needs neither key nor network. Without
    `proxies` those of the process's environment are used. `ca_file` is a PEM file with the
    certificates to trust, "" for the system's.
    """
    if not base_url:
        from twelvefold.services.model.demo import open_demo

        return open_demo()
    from twelvefold.services.model.http.proxies import Proxies
    from twelvefold.services.model.openai import ModelSettings, OpenAIModel

    settings = ModelSettings(
        base_url=base_url,
        api_key=api_key,
        model=model,
        api=api,
        headers=headers or {},
        proxies=Proxies.of_environment() if proxies is None else proxies,
        ca_file=ca_file,
        temperature=temperature,
        max_output_tokens=max_output_tokens,
        connect_timeout_s=min(timeout_s, _LONGEST_CONNECT_S),
        first_token_timeout_s=timeout_s,
        between_tokens_timeout_s=timeout_s / 2,
    )
    return OpenAIModel(settings)
