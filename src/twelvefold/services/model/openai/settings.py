"""Settings of one model behind the OpenAI API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from twelvefold.secret_file import SecretFile
from twelvefold.services.model.http import NO_PROXIES, Endpoint, Proxies
from twelvefold.services.model.openai.decoding import REPLY_LIMITS, ReplyLimits

Api = Literal["responses", "chat"]


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The address of the model, the options of every request, and the timeouts.

    `first_token_timeout_s` limits the silence of a model that may be reasoning,
    `between_tokens_timeout_s` the silence within a text or a call. A complete reply is returned
    `trailing_usage_timeout_s` later at the latest, even if the server does not end the stream; if
    the usage is known, after a quarter of that time. `backoff_s` is the first delay between
    attempts; it doubles up to `max_backoff_s`.
    """

    base_url: str
    api_key: str | SecretFile = field(repr=False)
    model: str
    api: Api = "responses"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Proxies = NO_PROXIES
    ca_file: str = ""
    temperature: float | None = None
    max_output_tokens: int | None = None
    connect_timeout_s: float = 10.0
    first_token_timeout_s: float = 120.0
    between_tokens_timeout_s: float = 60.0
    trailing_usage_timeout_s: float = 2.0
    max_attempts: int = 6
    backoff_s: float = 0.5
    max_backoff_s: float = 8.0
    reply_limits: ReplyLimits = REPLY_LIMITS

    @property
    def endpoint(self) -> Endpoint:
        """The server's address, with the headers of every request."""
        return Endpoint(self.base_url, self.api_key, self.headers, self.proxies, self.ca_file)
