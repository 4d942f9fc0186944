"""The address of a model's server, and the headers and proxy of every request to it."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from twelvefold.secret_file import SecretFile, secret_value
from twelvefold.services.model.http.proxies import NO_PROXIES, Proxies


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL, which may have a user and a query; `headers` are set by the operator.

    `api_key` may be in a file, which may be replaced. `ca_file`: PEM file with the certificates to
    trust, "" for the system's list.
    """

    base_url: str = field(repr=False)
    api_key: str | SecretFile = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Proxies = NO_PROXIES
    ca_file: str = ""

    @property
    def key(self) -> str:
        """The current API key, "" for none."""
        return secret_value(self.api_key)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The API keys and header values that a server's text may repeat."""
        keys = (self.api_key,) if isinstance(self.api_key, str) else self.api_key.known
        return *keys, *self.headers.values()

    @property
    def name(self) -> str:
        """The address without user, password and query."""
        parts = urlsplit(self.base_url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The proxy's URL, None for a direct connection. Raises ModelUnavailable."""
        return self.proxies.for_url(self.base_url)

    @property
    def proxy_name(self) -> str:
        """The proxy's address without user and password, "" for none."""
        parts = urlsplit(self.proxy or "")
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def url(self, path: str) -> str:
        """Return the URL of a path below the base URL, with the query of the base URL.

        User and password are not in it, because they are sent in a header.
        """
        parts = urlsplit(self.base_url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, path=parts.path.rstrip("/") + path).geturl()

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request, by lower-case name. The operator's override ours."""
        headers = {
            "accept": "text/event-stream",
            # A proxy that compresses buffers the stream.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "twelvefold",
        }
        if authorization := self._authorization():
            headers["authorization"] = authorization
        return headers | {name.lower(): value for name, value in self.headers.items()}

    def _authorization(self) -> str:
        """Return the API key, otherwise the user and password of the base URL, otherwise ""."""
        if key := self.key:
            return f"Bearer {key}"
        user, separator, _ = urlsplit(self.base_url).netloc.rpartition("@")
        if not separator:
            return ""
        name, _, password = map(unquote, user.partition(":"))
        return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"
