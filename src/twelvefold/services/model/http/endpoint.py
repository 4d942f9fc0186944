"""Where a model's server is and what every request to it carries: its URL, headers and proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from twelvefold.services.model.http.proxies import NO_PROXIES, Proxies


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The base URL, which may have a user and a query; `headers` are the operator's own.

    `ca_file`: PEM file with the certificates to trust, "" for those that OpenSSL finds by itself.
    """

    base_url: str = field(repr=False)
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Proxies = NO_PROXIES
    ca_file: str = ""

    @property
    def name(self) -> str:
        """The address as an operator may read it: without user, password and query."""
        parts = urlsplit(self.base_url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The proxy's URL, None for a direct connection. Raises ModelUnavailable."""
        return self.proxies.for_url(self.base_url)

    @property
    def proxy_name(self) -> str:
        """The proxy's address as an operator may read it, "" for none."""
        parts = urlsplit(self.proxy or "")
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def url(self, path: str) -> str:
        """The URL of a path below the base, with the base's query behind it."""
        parts = urlsplit(self.base_url)
        return parts._replace(path=parts.path.rstrip("/") + path).geturl()

    def request_headers(self) -> dict[str, str]:
        """The headers of every request, by lower-case name; the operator's own win."""
        headers = {
            "accept": "text/event-stream",
            # A proxy that compresses also waits until it has something to compress.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "twelvefold",
        }
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers | {name.lower(): value for name, value in self.headers.items()}
