"""Ports for servers whose port has to be known before they start; others use port 0."""

import os
import random
import socket

FIRST_PORT, LAST_PORT = 20_000, 31_999
"""Below Linux's default `ip_local_port_range`: no connection and no port 0 gets one of these."""
SHARES = 4
"""Parts of the range. Each pytest-xdist worker has its own, since a free port is not taken yet."""
ATTEMPTS = 50
_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that is not in use now, never the same one twice.

    Raises OSError if it finds none.
    """
    for _ in range(ATTEMPTS):
        # Seeded by the system, as tests that run beside each other share a seed.
        port = random.SystemRandom().choice(ports_of(os.environ.get("PYTEST_XDIST_WORKER", "gw0")))
        if port in _given:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        _given.add(port)
        return port
    raise OSError(f"{ATTEMPTS} random ports between {FIRST_PORT} and {LAST_PORT} are in use")


def ports_of(worker: str) -> range:
    """Return the ports of a pytest-xdist worker, by its name."""
    size = (LAST_PORT + 1 - FIRST_PORT) // SHARES
    first = FIRST_PORT + int(worker.removeprefix("gw")) % SHARES * size
    return range(first, first + size)
