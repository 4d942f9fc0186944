"""Which proxy a request goes through, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

Source: the rules of curl and of Python's urllib.request, with networks in NO_PROXY as Go has them.
"""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

from twelvefold.errors import ModelUnavailable


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy for each scheme, "" for none; `direct` lists the hosts that need none.

    `direct` has names, each with those below it, addresses, networks, or `*`; commas between.
    """

    https: str = field(default="", repr=False)
    http: str = field(default="", repr=False)
    direct: str = ""

    @classmethod
    def of_environment(cls) -> Self:
        """Those that urllib finds in the process's environment, lower case first."""
        from urllib.request import getproxies_environment

        found = getproxies_environment()
        return cls(found.get("https", ""), found.get("http", ""), found.get("no", ""))

    def for_url(self, url: str) -> str | None:
        """The URL of the proxy for a URL, None for a direct connection.

        Raises ModelUnavailable for a proxy of another kind than HTTP.
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
                f"{name}: a proxy of the kind {scheme}:// is not supported; use http://, or list "
                f"{parts.hostname} in NO_PROXY"
            ).loggable()
        return proxy

    def _is_direct(self, parts: SplitResult) -> bool:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        host = (parts.hostname or "").rstrip(".")
        names = [name for name in re.split(r"[,\s]+", self.direct.lower()) if name]
        return any(_is_listed(host, port, name) for name in names)


NO_PROXIES = Proxies()
"""Every connection is a direct one."""


def _is_listed(host: str, port: int | None, name: str) -> bool:
    if name == "*":
        return True
    name, wanted = _without_port(name)
    if wanted is not None and wanted != port:
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
    """Whether both are the same address; of version 6 there are several ways to write one."""
    try:
        return ip_address(host) == ip_address(address)
    except ValueError:
        return False
