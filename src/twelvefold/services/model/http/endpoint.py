"""The address of a model's server, and the headers and proxy of every request to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from twelvefold.services.model.http.proxies import NO_PROXIES, Proxies


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL, which may have a user and a query; `headers` are set by the operator.

    `ca_file`: PEM file with the certificates to trust, "" for the system's list.
    """

    base_url: str = field(repr=False)
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxies: Proxies = NO_PROXIES
    ca_file: str = ""

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
        """Return the URL of a path below the base URL, with the query of the base URL."""
        parts = urlsplit(self.base_url)
        return parts._replace(path=parts.path.rstrip("/") + path).geturl()

    def request_headers(self) -> dict[str, str]:
        """Return the headers of every request, by lower-case name. The operator's override ours."""
        headers = {
            "accept": "text/event-stream",
            # A proxy that compresses buffers the stream.
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "twelvefold",
        }
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return headers | {name.lower(): value for name, value in self.headers.items()}
