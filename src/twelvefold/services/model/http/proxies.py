"""Selects the proxy of a request by HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

Source: the rules of curl and of Python's urllib.request, with networks in NO_PROXY as in Go.
"""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

from twelvefold.errors import ModelUnavailable


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy for each scheme, "" for none; `direct` lists the hosts without a proxy.

    `direct` has host names, which include their subdomains, addresses, networks or `*`, separated
    by commas.
    """

    https: str = field(default="", repr=False)
    http: str = field(default="", repr=False)
    direct: str = ""

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables of the process with urllib; lower-case names take precedence."""
        from urllib.request import getproxies_environment

        found = getproxies_environment()
        return cls(found.get("https", ""), found.get("http", ""), found.get("no", ""))

    def for_url(self, url: str) -> str | None:
        """Return the proxy's URL for a URL, None for a direct connection.

        Raises ModelUnavailable if the proxy is not an HTTP proxy.
        """
        parts = urlsplit(url)
        name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
        proxy = (self.https if parts.scheme == "https" else self.http).strip()
        if not proxy or self._is_direct(parts):
            return None
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        scheme = proxy.partition("://")[0].lower()
        if scheme not in ("http", "https"):
            raise ModelUnavailable(
                f"{name}: the proxy scheme {scheme}:// is not supported; use http://, or list "
                f"{parts.hostname} in NO_PROXY"
            ).loggable()
        return proxy

    def _is_direct(self, parts: SplitResult) -> bool:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        host = (parts.hostname or "").rstrip(".")
        names = [name for name in re.split(r"[,\s]+", self.direct.lower()) if name]
        return any(_is_listed(host, port, name) for name in names)


NO_PROXIES = Proxies()
"""Every connection is direct."""


def _is_listed(host: str, port: int | None, name: str) -> bool:
    if name == "*":
        return True
    name, required_port = _without_port(name)
    if required_port is not None and required_port != port:
        return False
    if "/" in name:
        return _is_within(host, name)
    name = name.strip("[]").removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}") or _is_same(host, name))


def _without_port(name: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d+)", name)
    return (match[1], int(match[2])) if match else (name, None)


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _is_same(host: str, address: str) -> bool:
    """Return whether both are the same address. An IPv6 address has several notations."""
    try:
        return ip_address(host) == ip_address(address)
    except ValueError:
        return False
