"""A `DATABASE_URL` with several hosts, as one URL for each."""

import re

_AUTHORITY = re.compile(r"([^/?#]*//(?:[^/?#]*@)?)([^/?#]*)(.*)", re.DOTALL)


def server_urls(url: str) -> list[str]:
    """Return the URL of each server of `scheme://user:password@host1:port,host2:port/database`.

    The list of hosts is as in libpq and in the drivers of MySQL. A URL with one host is returned
    unchanged.
    """
    parts = _AUTHORITY.fullmatch(url)
    if parts is None or "," not in parts[2]:
        return [url]
    return [f"{parts[1]}{host.strip()}{parts[3]}" for host in parts[2].split(",")]
