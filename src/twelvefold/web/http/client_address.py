"""The client that an IP address stands for."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

_IPV6_PREFIX = 64
"""A client usually has a whole IPv6 network, which counts as one client."""
_MAX_CHARS = 64


@lru_cache(maxsize=4_096)
def client_of(address: str) -> str:
    """Return the name under which limits count the client at an address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_MAX_CHARS]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _IPV6_PREFIX), strict=False))


class TrustedAddresses:
    """The addresses and networks of TRUSTED_PROXIES."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = [ip_network(network, strict=False) for network in networks]

    def __contains__(self, address: object) -> bool:
        try:
            parsed = ip_address(str(address).partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)
